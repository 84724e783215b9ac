import getpass
import os
from pathlib import Path

import pytest

from chorale.cluster.environment import complete, environment, own_threads, threads


@pytest.mark.parametrize(("said", "n"), [("3", 3), ("", 1), ("many", 1), ("0", 1)])
def test_a_process_knows_how_many_threads_it_was_given(
    monkeypatch: pytest.MonkeyPatch, said: str, n: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert own_threads() == n


def test_what_is_set_for_a_block_is_what_is_read() -> None:
    before = own_threads()
    with environment(threads(5)):
        assert own_threads() == 5
    assert own_threads() == before


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user without a name and a home folder, as in a container; gives the temporary folder."""
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")  # so that what the test makes of it is undone, too
        monkeypatch.delenv(name)

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_user_without_a_name_gets_one_and_a_folder_of_its_own(nameless: Path) -> None:
    complete()
    assert getpass.getuser() == f"uid-{os.getuid()}"
    home = Path.home()
    assert home.parent == nameless
    assert home.stat().st_mode & 0o777 == 0o700
    del os.environ["HOME"]
    complete()
    assert Path.home() == home


@pytest.mark.parametrize("taken", ["link", "file", "open folder"])
def test_a_home_folder_that_another_may_have_made_is_not_used(nameless: Path, taken: str) -> None:
    path = nameless / f"chorale-home-{os.getuid()}"
    if taken == "link":
        path.symlink_to(nameless)
    elif taken == "file":
        path.touch()
    else:
        path.mkdir()
        path.chmod(0o777)
    complete()
    assert Path.home() != path
    assert Path.home().stat().st_mode & 0o777 == 0o700


def test_what_is_known_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USER", "somebody")
    complete()
    assert (os.environ["HOME"], os.environ["USER"]) == (str(tmp_path), "somebody")
