import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from chorale.cluster.jobs.jobs import Job
from chorale.datasets.errors import UserError
from chorale.search import cli, interrupts
from chorale.search.commands import submit
from chorale.search.commands.job_words import follow, job_words
from chorale.search.console.follow import Follower

LOG = """\
tracks     folder: 60 tracks (0 s)
           done    trial 0          cnn   accuracy 0.708  4 epochs  | 1 of 2, 1 running
           done    trial 1          cnn   accuracy 0.750  4 epochs  | 2 of 2, 0 running
search     2 trials: 2 done (8 s)
"""


def test_the_cluster_is_named_or_taken_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    assert job_words([]).address == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://team:8265")
    assert job_words(["demo"]).address == "http://team:8265"
    assert job_words(["demo", "--address=http://mine:1"]).address == "http://mine:1"


def test_a_sweeps_keys_are_let_through_in_their_order() -> None:
    words = ["my.yaml", "--budget.trials", "8", "--address", "h", "--name=x", "--follow"]
    given = job_words(words, flags=["follow"], keys=True)
    assert (given.name, given.address) == ("my.yaml", "h")
    assert given.rest == ("--budget.trials", "8", "--name=x")
    assert set(given.flags) == {"follow"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--adress", "x"], r"did you mean '--address'\?"),
        (["--address"], "--address needs a value"),
        (["a", "b"], "expected one name, but got: a b"),
    ],
)
def test_words_that_mean_nothing_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        job_words(words)


def _followed(*, terminal: bool, size: int) -> str:
    out = io.StringIO()
    console = Console(file=out, width=160, force_terminal=terminal, color_system=None)
    with Follower(console) as show:
        for i in range(0, len(LOG), size):
            show(LOG[i : i + size])
    return out.getvalue()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_followed_log_is_the_log_wherever_its_pieces_end(size: int) -> None:
    assert _followed(terminal=False, size=size) == LOG


def test_on_a_terminal_how_far_all_are_is_one_line_that_stays_current() -> None:
    said = _followed(terminal=True, size=1000)
    assert "trials 2 of 2, 0 running" in said
    assert "4 epochs  |" not in said


class _Jobs:
    """Stands for a cluster whose job is being followed."""

    url = "http://head:8265"

    def follow(self, name: str, show: Any) -> Job:
        show("one line\n")
        raise KeyboardInterrupt


def test_ctrl_c_lets_go_of_a_job_and_says_how_to_follow_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert follow(_Jobs(), "demo") == interrupts.INTERRUPTED  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert "Job demo goes on" in said
    assert "chorale jobs logs demo --address http://head:8265 --follow" in said
    assert "chorale jobs stop demo --address http://head:8265" in said


def test_a_sweep_is_checked_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit, "send", lambda *_, **__: pytest.fail("was sent"))
    file = tmp_path / "bad.yaml"
    file.write_text("dataset: {name: synthetic}\nbudget: {trials: 0}\n")
    assert cli.main(["submit", str(file), "--address", "http://127.0.0.1:1"]) == 1
    assert "budget.trials" in capsys.readouterr().err


def test_a_password_in_a_sweep_is_refused_and_not_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for url in ("postgresql+psycopg://u:hunter2@h/d", "postgresql:///d?password=hunter2"):
        assert cli.main(["sweep", "demo", "--store", url]) == 1
        said = capsys.readouterr().err
        assert "store: holds a password" in said
        assert "hunter2" not in said


@pytest.mark.parametrize("address", ["ray://head:10001", "http://head:8265"])
def test_a_sweep_at_a_remote_address_is_sent_there_and_followed(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    sent: list[Any] = []

    def send(*words: Any, **options: Any) -> int:
        sent.append((words, options))
        return 5

    monkeypatch.setattr(submit, "send", send)
    assert cli.main(["sweep", "demo", "--cluster.address", address, "--resume"]) == 5
    [((_, given), options)] = sent
    assert (given.address, options) == (address, {"file": "demo", "wait": True})


def test_in_a_job_relative_paths_are_below_home_and_named_files_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, home = tmp_path / "code", tmp_path / "home"
    for folder in (code, home):
        folder.mkdir()
    (code / "my.yaml").write_text("")
    got: list[Any] = []

    def run(words: Sequence[str]) -> int:
        got.append((words, Path.cwd()))
        return 0

    monkeypatch.setattr(cli, "COMMANDS", {"sweep": cli.Command("", run)})
    monkeypatch.setattr(interrupts, "listen", lambda *_: None)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(code)
    assert cli.main(["sweep", "my.yaml", "--runs", "runs"]) == 0
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert cli.main(["sweep", "my.yaml", "--runs", "runs"]) == 0
    assert got == [
        (["my.yaml", "--runs", "runs"], code),
        ([str(code / "my.yaml"), "--runs", "runs"], home),
    ]


@pytest.mark.parametrize(
    ("word", "resume"), [("--continue", None), ("--resume", True), (None, False)]
)
def test_a_sweep_begins_goes_on_or_does_what_fits(
    monkeypatch: pytest.MonkeyPatch, word: str | None, resume: bool | None
) -> None:
    from chorale.search.commands import sweep

    asked: list[Any] = []

    def carry_out(_: Any, **options: Any) -> int:
        asked.append(options["resume"])
        return 0

    monkeypatch.setattr(sweep, "carry_out", carry_out)
    assert cli.main(["sweep", "demo", *([word] if word else [])]) == 0
    assert asked == [resume]
