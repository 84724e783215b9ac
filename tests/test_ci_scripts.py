"""The scripts of `.ci`: run in a temporary checkout with fake pip and python."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / ".ci"
LOCK = """\
alpha-one==1.0 \\
    --hash=sha256:00
beta==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:00
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with the scripts, a lock, and programs whose exit codes are set by `answers`."""
    (tmp_path / ".ci").mkdir()
    for name in ("newest", "run"):
        shutil.copy(SCRIPTS / name, tmp_path / ".ci" / name)
    (tmp_path / "constraints-test.txt").write_text(LOCK)
    _write_program(tmp_path / ".ci" / "smoke", 'echo "ran: smoke" >&2; exit "${SMOKE:-0}"')
    tools = tmp_path / "tools"
    tools.mkdir()
    _write_program(tools / "pip", PIP)
    _write_program(tools / "python", 'echo "ran: $*"; exit "${TESTS:-0}"')
    for name in ("apt-get", "mypy", "ruff", "lint-imports"):
        _write_program(tools / name, "exit 0")
    _write_program(tools / "python3", 'mkdir -p "$3/bin" && : > "$3/bin/activate"')
    return tmp_path


PIP = """\
case $1 in
  install) exit "${INSTALL:-0}" ;;
  check) exit "${CHECK:-0}" ;;
  freeze) printf 'Alpha_One==1.0\\nbeta==2.1\\ngamma==3.0\\n' ;;
esac
"""


def _write_program(path: Path, text: str) -> None:
    path.write_text("#!/bin/sh\n" + text + "\n")
    path.chmod(0o755)


def _run(
    tree: Path, *args: str, script: str = "newest", **answers: str
) -> subprocess.CompletedProcess[str]:
    path = f"{tree / 'tools'}{os.pathsep}{os.environ['PATH']}"
    env = {"PATH": path, "TMPDIR": str(tree), **answers}
    command = ["bash", str(tree / ".ci" / script), *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_it_lists_versions_that_differ_from_the_lock_and_runs_all_checks(tree: Path) -> None:
    done = _run(tree)
    lines = done.stdout.splitlines()
    assert [line.strip() for line in lines[: lines.index("ran: -m pytest")]] == [
        "newer than the lock:",
        "beta==2.1",
        "gamma==3.0",
    ]
    assert (done.returncode, lines[-1]) == (0, "newest: all well")


def test_no_tests_leaves_the_tests_out(tree: Path) -> None:
    done = _run(tree, "--no-tests", TESTS="1")
    assert "pytest" not in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("answers", "last_line"),
    [
        ({"INSTALL": "1"}, "newest: cannot be resolved"),
        ({"CHECK": "1"}, "newest: pip check"),
        ({"SMOKE": "1"}, "newest: smoke"),
        ({"TESTS": "1"}, "newest: tests"),
        ({"CHECK": "1", "SMOKE": "1", "TESTS": "1"}, "newest: pip check, smoke, tests"),
    ],
)
def test_it_lists_all_that_broke(tree: Path, answers: dict[str, str], last_line: str) -> None:
    done = _run(tree, **answers)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, last_line)


def test_it_leaves_no_files(tree: Path) -> None:
    before = {path.name for path in tree.iterdir()}
    _run(tree, SMOKE="1")
    assert {path.name for path in tree.iterdir()} == before


def test_ci_runs_the_tests_last(tree: Path) -> None:
    done = _run(tree, script="run")
    assert done.returncode == 0
    assert "ran: smoke" in done.stderr
    assert done.stdout.splitlines()[-1] == "ran: -m pytest"


def test_ci_ends_where_an_installation_fails(tree: Path) -> None:
    done = _run(tree, script="run", INSTALL="1")
    assert done.returncode == 1
    assert "ran:" not in done.stdout + done.stderr
