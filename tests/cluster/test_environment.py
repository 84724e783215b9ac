import getpass
import os
from pathlib import Path

import pytest

from chorale.cluster.environment import (
    configured_threads,
    set_missing_user_and_home,
    set_variables,
    thread_variables,
)


@pytest.mark.parametrize(("value", "n"), [("3", 3), ("", 1), ("many", 1), ("0", 1)])
def test_configured_threads_reads_omp_num_threads(
    monkeypatch: pytest.MonkeyPatch, value: str, n: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert configured_threads() == n


def test_set_variables_sets_threads_inside_the_block_only() -> None:
    before = configured_threads()
    with set_variables(thread_variables(5)):
        assert configured_threads() == 5
    assert configured_threads() == before


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user without a name and a home folder, as in a container; returns the temporary folder."""
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")  # so that what the test sets is undone, too
        monkeypatch.delenv(name)

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_user_without_a_name_gets_one_and_a_private_home_folder(nameless: Path) -> None:
    set_missing_user_and_home()
    assert getpass.getuser() == f"uid-{os.getuid()}"
    home = Path.home()
    assert home.parent == nameless
    assert home.stat().st_mode & 0o777 == 0o700
    del os.environ["HOME"]
    set_missing_user_and_home()
    assert Path.home() == home


@pytest.mark.parametrize("taken", ["link", "file", "open folder"])
def test_a_home_folder_that_another_user_may_have_made_is_not_used(
    nameless: Path, taken: str
) -> None:
    path = nameless / f"chorale-home-{os.getuid()}"
    if taken == "link":
        path.symlink_to(nameless)
    elif taken == "file":
        path.touch()
    else:
        path.mkdir()
        path.chmod(0o777)
    set_missing_user_and_home()
    assert Path.home() != path
    assert Path.home().stat().st_mode & 0o777 == 0o700


def test_an_existing_user_and_home_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USER", "somebody")
    set_missing_user_and_home()
    assert (os.environ["HOME"], os.environ["USER"]) == (str(tmp_path), "somebody")
