import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from chorale.datasets.errors import UserError
from chorale.search.cli import COMMANDS, EXIT_BROKEN_PIPE, EXIT_USAGE, main


def replace_command(monkeypatch: pytest.MonkeyPatch, name: str, run: Callable[[], object]) -> None:
    """Makes `run` what the command of one word does."""
    found = click.Command(name, callback=run)
    monkeypatch.setattr(f"chorale.search.commands.{name}.run", found)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from chorale.search.cli import main; main(['--help']); "
        "heavy = {'torch', 'ray', 'optuna', 'pandas', 'numpy'} & set(sys.modules); "
        "sys.exit(','.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("error", [RuntimeError("broken"), UserError("wrong"), SystemExit(1)])
def test_any_error_after_a_signal_counts_as_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    def run() -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise error from None
        return 0

    handlers = [(s, signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM)]
    replace_command(monkeypatch, "sweep", run)
    try:
        assert main(["sweep"]) == 130
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
    assert "interrupted" in capsys.readouterr().err


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweeep"]) == EXIT_USAGE
    assert "unknown command 'sweeep'" in capsys.readouterr().err


def test_the_keys_of_a_sweep_have_a_default_and_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys"]) == 0
    printed = capsys.readouterr().out
    for text in (
        "--budget.trials (null)",
        "--ensemble.kinds ([soft_vote, ",
        "--search.seed (0)",
        "how many trials",
        "--split.test",
        "shipped sweeps: ",
    ):
        assert text in printed
    lines = printed.splitlines()
    keys = [i for i, line in enumerate(lines) if line.startswith("  --")]
    assert len(keys) > 20
    assert all(lines[i + 1].strip() for i in keys), "a key without a text"


def test_a_full_disk_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "runs/demo/report.json")

    replace_command(monkeypatch, "list", full)
    assert main(["list"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "cannot write 'runs/demo/report.json': No space left on device" in lines[0]


def test_a_read_error_is_not_reported_as_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> int:
        raise FileNotFoundError(errno.ENOENT, "No such file", "x")

    replace_command(monkeypatch, "list", missing)
    with pytest.raises(FileNotFoundError):
        main(["list"])


@pytest.mark.parametrize(
    ("args", "code"), [(["data"], 2), (["data", "--help"], 0), (["encoder", "-h"], 0)]
)
def test_the_first_word_of_several_commands_lists_them(
    args: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == code
    shown = capsys.readouterr().out
    listed = [line.split("  ")[1] for line in shown.splitlines() if line.startswith("  ")]
    assert len(listed) >= 4
    assert all(name.split()[0] == args[0] for name in listed)


@pytest.mark.parametrize(
    ("args", "near"),
    [(["sweeep"], "sweep"), (["data", "chek"], "data check"), (["encodr", "list"], None)],
)
def test_an_unknown_command_is_answered_with_the_nearest(
    args: list[str], near: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert (f"did you mean '{near}'?" in first) == (near is not None)


@pytest.mark.parametrize(
    ("args", "exit_code"),
    [
        (["--help"], EXIT_BROKEN_PIPE),
        (["sweep", "--help"], EXIT_BROKEN_PIPE),
        (["data", "list"], 1),  # Rich, which prints the table, exits by itself
    ],
)
def test_a_reader_that_ends_early_is_no_error(args: list[str], exit_code: int) -> None:
    code = "import sys; from chorale.search.cli import main; sys.exit(main())"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", code, *args], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == exit_code


def test_another_broken_pipe_is_not_taken_for_the_reader_of_the_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run() -> int:
        raise BrokenPipeError("of a socket")

    monkeypatch.setattr("chorale.search.cli._run_command", lambda args, is_process: run())
    monkeypatch.setattr(sys, "argv", ["chorale", "list"])
    with pytest.raises(BrokenPipeError, match="of a socket"):
        main()
