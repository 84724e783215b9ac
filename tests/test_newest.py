"""`.ci/newest` says what broke, in a tree of its own where pip and tests answer as a case wants."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "newest"
LOCK = """\
alpha-one==1.0 \\
    --hash=sha256:00
beta==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:00
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with the script, a lock, and programs that end as `answers` say."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(SCRIPT, tmp_path / ".ci" / "newest")
    (tmp_path / "constraints-test.txt").write_text(LOCK)
    _program(tmp_path / ".ci" / "smoke", 'exit "${SMOKE:-0}"')
    tools = tmp_path / "tools"
    tools.mkdir()
    _program(tools / "pip", PIP)
    _program(tools / "python", 'echo "ran: $*"; exit "${TESTS:-0}"')
    _program(tools / "python3", 'mkdir -p "$3/bin" && : > "$3/bin/activate"')
    return tmp_path


PIP = """\
case $1 in
  install) exit "${INSTALL:-0}" ;;
  check) exit "${CHECK:-0}" ;;
  freeze) printf 'Alpha_One==1.0\\nbeta==2.1\\ngamma==3.0\\n' ;;
esac
"""


def _program(path: Path, text: str) -> None:
    path.write_text("#!/bin/sh\n" + text + "\n")
    path.chmod(0o755)


def _run(tree: Path, *words: str, **answers: str) -> subprocess.CompletedProcess[str]:
    path = f"{tree / 'tools'}{os.pathsep}{os.environ['PATH']}"
    env = {"PATH": path, "TMPDIR": str(tree), **answers}
    command = ["bash", str(tree / ".ci" / "newest"), *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_it_lists_what_is_other_than_the_lock_and_runs_everything(tree: Path) -> None:
    done = _run(tree)
    lines = done.stdout.splitlines()
    assert [line.strip() for line in lines[: lines.index("ran: -m pytest")]] == [
        "newer than the lock:",
        "beta==2.1",
        "gamma==3.0",
    ]
    assert (done.returncode, lines[-1]) == (0, "newest: all well")


def test_it_leaves_the_tests_out_where_that_is_asked_for(tree: Path) -> None:
    done = _run(tree, "--no-tests", TESTS="1")
    assert "pytest" not in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"INSTALL": "1"}, "newest: cannot be resolved"),
        ({"CHECK": "1"}, "newest: pip check"),
        ({"SMOKE": "1"}, "newest: smoke"),
        ({"TESTS": "1"}, "newest: tests"),
        ({"CHECK": "1", "SMOKE": "1", "TESTS": "1"}, "newest: pip check, smoke, tests"),
    ],
)
def test_it_says_all_that_broke(tree: Path, answers: dict[str, str], said: str) -> None:
    done = _run(tree, **answers)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, said)


def test_it_leaves_nothing_behind(tree: Path) -> None:
    before = {path.name for path in tree.iterdir()}
    _run(tree, SMOKE="1")
    assert {path.name for path in tree.iterdir()} == before
