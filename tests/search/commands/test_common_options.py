"""Options of every command, lists in keys, JSON of the data commands, and logs with times."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from chorale.datasets.errors import UserError
from chorale.datasets.synthesis import compose
from chorale.datasets.synthesis import corpus as synthetic_corpus
from chorale.search.cli import main
from chorale.search.commands import console as console_file
from chorale.search.config.schema import load_sweep_config
from chorale.search.config.yaml_file import parse_overrides
from chorale.search.console.log_file import LOG, kept_log, logged, logging_to, printed_details

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  \S.*")


@pytest.mark.parametrize(
    ("words", "section", "key", "value"),
    [
        (["--architectures", "cnn"], None, "architectures", ("cnn",)),
        (["--architectures", "cnn,recurrent"], None, "architectures", ("cnn", "recurrent")),
        (["--architectures", "[cnn, recurrent]"], None, "architectures", ("cnn", "recurrent")),
        (["--ensemble.kinds", "greedy"], "ensemble", "kinds", ("greedy",)),
        (["--split.test_groups", "anna, ben"], "split", "test_groups", ("anna", "ben")),
        (["--labels.leave_out", "rail,kite"], "labels", "leave_out", ("rail", "kite")),
        (["--audit.accept", "groups,labels"], "audit", "accept", ("groups", "labels")),
    ],
)
def test_a_list_is_also_separated_by_commas(
    words: list[str], section: str | None, key: str, value: tuple[str, ...]
) -> None:
    sweep = load_sweep_config("demo", parse_overrides(words))
    assert getattr(getattr(sweep, section) if section else sweep, key) == value


def test_a_dataset_is_named_or_is_a_folder(tmp_path: Path) -> None:
    assert load_sweep_config("demo", {"dataset": "fsdd"}).dataset == {"name": "fsdd"}
    folder = load_sweep_config("demo", {"dataset": str(tmp_path), "dataset.group": "tag:artist"})
    assert folder.dataset == {"name": "folder", "root": str(tmp_path), "group": "tag:artist"}
    with pytest.raises(UserError, match="no dataset and no folder 'fsd'; type --dataset NAME or"):
        load_sweep_config("demo", {"dataset": "fsd"})
    with pytest.raises(UserError, match=r"but got 8; type --budget\.KEY VALUE; its keys: trials, "):
        load_sweep_config("demo", {"budget": 8})


def test_data_check_and_data_leak_print_json_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def noise(*, artist: int, number: int, clip_s: float, **_: Any) -> NDArray[np.float64]:
        rng = np.random.default_rng([artist, number])
        return rng.uniform(-0.5, 0.5, synthetic_corpus.n_samples(clip_s))

    monkeypatch.setattr(compose, "compose_track", noise)
    monkeypatch.setattr(synthetic_corpus, "_fitting_processes", lambda n: 1)
    words = ["synthetic", "--root", str(tmp_path / "a"), "--runs", str(tmp_path / "r"), "--json"]
    words += ["--n_tracks", "60", "--n_artists", "3", "--clip_s", "0.6"]
    words += ["--cluster.address", "none", "--finalists.folds", "2", "--split.test", "0.4"]
    code = main(["data", "check", *words])
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["name"] == "dataset 'synthetic'"
    assert code == bool(found["problems"])
    assert all({"path", "problem", "outcome"} <= one.keys() for one in found["problems"])
    assert "tracks " in err
    assert main(["data", "leak", *words, "--quiet"]) == 0
    out, _ = capsys.readouterr()
    leak = json.loads(out)
    assert [one["protocol"] for one in leak["scores"]][-1] == "groups disjoint"
    assert 0 <= leak["scores"][0]["value"] <= 1


@pytest.mark.parametrize("place", [0, 3])
def test_common_options_stand_before_or_after_the_command(
    place: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "logs" / "chorale.log"
    words = ["list", "--runs", str(tmp_path)]
    words[place:place] = ["--log-file", str(log)]
    assert main(words) == 1
    assert "there is no ledger" in capsys.readouterr().err
    assert main(["--version"]) == main(["status", "--version"]) == 0
    assert len({*capsys.readouterr().out.splitlines()}) == 1


def test_an_error_is_in_the_log_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "chorale.log"
    assert main(["status", "--runs", str(tmp_path / "none"), "--log-file", str(log)]) == 1
    [line] = log.read_text().splitlines()
    assert LINE.fullmatch(line)
    error = capsys.readouterr().err.strip().removeprefix("chorale status: ")
    assert line.endswith(f"ended by NoLedgerError: {error}")


def test_columns_and_no_color_are_honoured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert console_file.console().width == 160
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("NO_COLOR", "1")
    assert console_file.console().width == 60
    assert console_file.console().no_color
    assert main(["list", "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60


def test_a_log_has_what_was_printed_before_its_folder_existed(tmp_path: Path) -> None:
    console = Console(quiet=True)
    with kept_log(console, tmp_path / "study" / "log.txt") as begin:
        console.print("[bold]before[/] the folder")
        (tmp_path / "study").mkdir()
        begin()
        table = Table("a")
        table.add_row("cell")
        console.print(table)
        LOG.debug("a detail that was not asked for")
    console.print("after the end")
    lines = (tmp_path / "study" / "log.txt").read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    texts = [line.split("Z  ")[1] for line in lines]
    assert texts[0] == "before the folder"
    assert any("cell" in text for text in texts)
    assert not any("after" in text or "detail" in text for text in texts)


def test_a_log_of_a_refused_study_leaves_no_file_and_an_error_is_its_last_line(
    tmp_path: Path,
) -> None:
    console = logged(Console(quiet=True))
    with pytest.raises(UserError), kept_log(console, tmp_path / "a.txt"):
        raise UserError("refused")
    assert list(tmp_path.iterdir()) == []

    def fail() -> None:
        with kept_log(console, tmp_path / "b.txt") as begin:
            begin()
            console.print("began")
            raise UserError("it cannot go on")

    with pytest.raises(UserError):
        fail()
    last = (tmp_path / "b.txt").read_text().splitlines()[-1]
    assert last.endswith("ended by UserError: it cannot go on")


def test_a_log_that_cannot_be_written_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console(quiet=True)
    with kept_log(console, tmp_path / "nowhere" / "log.txt") as begin:
        begin()
        console.print("goes on")
    assert "no log is kept" in capsys.readouterr().err


def test_details_are_printed_and_logged_where_they_were_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with printed_details(), logging_to(tmp_path / "log"):
        LOG.debug("trial 3: epoch 1, accuracy 0.5")
        LOG.info("a line that the console has printed")
    assert capsys.readouterr().err == "trial 3: epoch 1, accuracy 0.5\n"
    assert len((tmp_path / "log").read_text().splitlines()) == 2
