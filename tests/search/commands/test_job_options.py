import io
from pathlib import Path
from typing import Any

import click
import pytest
from rich.console import Console

from chorale.cluster.jobs.jobs import RayJob
from chorale.search import cli, interrupts
from chorale.search.commands import submit
from chorale.search.commands.command import command
from chorale.search.commands.job_options import JobServer, follow_job, job_options
from chorale.search.console.follow import LogFollower

LOG = """\
tracks     folder: 60 tracks (0 s)
           done    trial 0          cnn   accuracy 0.708  4 epochs  | 1 of 2, 1 running
           done    trial 1          cnn   accuracy 0.750  4 epochs  | 2 of 2, 0 running
search     2 trials: 2 done (8 s)
"""


SERVERS: list[JobServer] = []


@command(examples=["x"])
@job_options
def server_of(server: JobServer) -> int:
    SERVERS.append(server)
    return 0


def test_the_address_comes_from_the_option_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def server(*args: str) -> JobServer:
        assert server_of.main(list(args), standalone_mode=False) == 0
        return SERVERS.pop()

    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    assert server() == JobServer("http://127.0.0.1:8265", allow_no_token=False)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://team:8265")
    assert server("--allow-no-token") == JobServer("http://team:8265", allow_no_token=True)
    assert server("--address=http://mine:1").address == "http://mine:1"


def test_a_sweeps_keys_are_passed_on_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    def submit_sweep(_: Any, server: JobServer, **options: Any) -> int:
        sent.append((server.address, options))
        return 0

    monkeypatch.setattr(submit, "submit_sweep", submit_sweep)
    words = ["--budget.trials", "8", "demo", "--address", "h", "--name=x", "--follow"]
    assert cli.main(["submit", *words]) == 0
    keys = ["--budget.trials", "8", "--name=x"]
    assert sent == [("h", {"file": "demo", "keys": keys, "wait": True})]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["logs", "a", "--adress", "x"], "did you mean '--address'?"),
        (["logs", "a", "--address"], "--address needs a value: --address URL"),
        (["logs", "a", "b"], "expected one NAME, but got a b; type: chorale jobs logs NAME"),
        (["stop"], "NAME is missing; type: chorale jobs stop NAME"),
        (["list", "a"], "expected no name, but got a; type: chorale jobs list"),
    ],
)
def test_unknown_arguments_are_refused(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["jobs", *args]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def _followed(*, terminal: bool, size: int) -> str:
    out = io.StringIO()
    console = Console(file=out, width=160, force_terminal=terminal, color_system=None)
    with LogFollower(console) as show:
        for i in range(0, len(LOG), size):
            show(LOG[i : i + size])
    return out.getvalue()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_followed_log_is_printed_unchanged_for_any_chunk_size(size: int) -> None:
    assert _followed(terminal=False, size=size) == LOG


def test_on_a_terminal_the_summary_is_one_status_line() -> None:
    output = _followed(terminal=True, size=1000)
    assert "trials 2 of 2, 0 running" in output
    assert "4 epochs  |" not in output


class _Jobs:
    """A stub of a cluster whose job is being followed."""

    url = "http://head:8265"

    def follow(self, name: str, show: Any) -> RayJob:
        show("one line\n")
        raise KeyboardInterrupt


def test_ctrl_c_stops_following_and_prints_how_to_follow_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert follow_job(_Jobs(), "demo") == interrupts.EXIT_INTERRUPTED  # type: ignore[arg-type]
    output = capsys.readouterr().out
    assert "Job demo keeps running" in output
    assert "chorale jobs logs demo --address http://head:8265 --follow" in output
    assert "chorale jobs stop demo --address http://head:8265" in output


def test_a_sweep_is_validated_before_it_is_submitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "submit_sweep", lambda *_, **__: pytest.fail("was submitted"))
    file = tmp_path / "bad.yaml"
    file.write_text("dataset: {name: synthetic}\nbudget: {trials: 0}\n")
    assert cli.main(["submit", str(file), "--address", "http://127.0.0.1:1"]) == 1
    assert "budget.trials" in capsys.readouterr().err


def test_a_password_in_a_sweep_is_refused_and_not_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for url in ("postgresql+psycopg://u:hunter2@h/d", "postgresql:///d?password=hunter2"):
        assert cli.main(["sweep", "demo", "--store", url]) == 1
        output = capsys.readouterr().err
        assert "store: holds a password" in output
        assert "hunter2" not in output


@pytest.mark.parametrize("address", ["ray://head:10001", "http://head:8265"])
def test_a_sweep_with_a_remote_address_is_submitted_there_and_followed(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    sent: list[Any] = []

    def submit_sweep(*args: Any, **options: Any) -> int:
        sent.append((args, options))
        return 5

    monkeypatch.setattr(submit, "submit_sweep", submit_sweep)
    assert cli.main(["sweep", "demo", "--cluster.address", address, "--resume"]) == 5
    [((_, given), options)] = sent
    keys = ["--cluster.address", address]
    assert (given.address, options) == (address, {"file": "demo", "keys": keys, "wait": True})


def test_in_a_job_relative_paths_are_below_home_except_existing_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, home = tmp_path / "code", tmp_path / "home"
    for folder in (code, home):
        folder.mkdir()
    (code / "my.yaml").write_text("")
    got: list[Any] = []

    def run(words: tuple[str, ...]) -> int:
        got.append((list(words), Path.cwd()))
        return 0

    params = [click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)]
    settings = {"ignore_unknown_options": True}
    found = click.Command("sweep", callback=run, params=params, context_settings=settings)  # type: ignore[arg-type]
    monkeypatch.setattr("chorale.search.commands.sweep.run", found)
    monkeypatch.setattr(interrupts, "install_handlers", lambda *_: None)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(code)
    assert cli.main(["sweep", "my.yaml", "--runs", "runs"]) == 0
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert cli.main(["sweep", "my.yaml", "--runs", "runs"]) == 0
    assert got == [
        (["my.yaml", "--runs", "runs"], code),
        ([str(code / "my.yaml"), "--runs", "runs"], home),
    ]


def test_an_interrupted_sweep_prints_the_command_that_resumes_it_as_it_was_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from chorale.search.sweep import run

    def run_sweep(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_sweep", run_sweep)
    kinds = ["--ensemble.kinds", "[soft_vote, greedy]"]
    assert cli.main(["sweep", "demo", *kinds]) == 130
    command = "chorale sweep demo --ensemble.kinds '[soft_vote, greedy]' --resume"
    assert f"Resume with:  {command}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flag", "resume"), [("--continue", None), ("--resume", True), (None, False)]
)
def test_flags_choose_to_start_or_resume_a_sweep(
    monkeypatch: pytest.MonkeyPatch, flag: str | None, resume: bool | None
) -> None:
    from chorale.search.commands import sweep

    asked: list[Any] = []

    def run_and_show(_: Any, **options: Any) -> int:
        asked.append(options["resume"])
        return 0

    monkeypatch.setattr(sweep, "run_and_show", run_and_show)
    assert cli.main(["sweep", "demo", *([flag] if flag else [])]) == 0
    assert asked == [resume]
