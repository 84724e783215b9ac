"""Features within the time of a sweep: a map that ends early, and what is left out by it."""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from chorale.datasets import chunks
from chorale.search.cli import main
from chorale.search.config.resolve import Choices, ResolvedSweep, resolve, with_choices
from chorale.search.config.schema import SweepConfig
from chorale.search.console.progress import Progress
from chorale.search.data import feature_extraction
from chorale.search.data.prepare import prepare
from chorale.search.data.time_limit import TooSlowError, limited_map


class Clock:
    """A clock that work moves on."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def map(self, work: Callable[[int], float], items: Sequence[int], /) -> Iterator[int]:
        """Yields the items; `work` gives the seconds of each."""
        for item in items:
            self.now_s += work(item)
            yield item


def run_limited(seconds: Callable[[int], float], n: int, limit_s: float) -> tuple[list[int], float]:
    """The results that came before the end, and the expected seconds, 0 if all came."""
    clock = Clock()
    run: Any = clock.map
    results: Any = limited_map(run, limit_s, clock=clock)(seconds, range(n))
    found: list[int] = []
    try:
        found.extend(results)
    except TooSlowError as error:
        return found, error.expected_s
    return found, 0.0


def test_a_map_ends_as_soon_as_its_time_is_known_to_be_too_long() -> None:
    found, expected_s = run_limited(lambda _: 1.0, 100, 50.0)
    assert (len(found), expected_s) == (4, 100.0)
    assert run_limited(lambda _: 1.0, 100, 100.0) == (list(range(100)), 0.0)
    # the first chunks of workers that start
    assert run_limited(lambda i: 10.0 if i == 0 else 0.1, 100, 400.0) == (list(range(100)), 0.0)


def test_a_map_that_is_over_its_limit_ends_before_its_time_is_known() -> None:
    found, expected_s = run_limited(lambda _: 30.0, 3, 20.0)
    assert (found, expected_s) == ([0], 90.0)
    assert run_limited(lambda _: 30.0, 1, 20.0) == ([0], 0.0)  # what is done is kept


@pytest.fixture
def audio(corpus: Path, tmp_path: Path) -> ResolvedSweep:
    dataset = {"name": "folder", "root": str(corpus), "group": "(artist.)"}
    sweep = SweepConfig(dataset=dataset, runs=str(tmp_path / "runs"))
    return resolve(sweep, where="test")


def test_what_would_take_too_long_is_left_out_and_printed(
    audio: ResolvedSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_TRACKS", 4)
    printed = io.StringIO()
    progress = Progress(Console(file=printed, width=300))
    found = prepare(audio, progress, map, left_s=lambda: 0.0)
    assert list(found.stores) == ["mfcc_statistics"]  # the table, though it comes second
    assert "mel is left out: it would take about" in printed.getvalue()
    assert list(prepare(audio, progress, map, left_s=lambda: 1e6).stores) == list(audio.features)
    narrowed = with_choices(audio, Choices(features=found.stores))
    assert list(narrowed.features) == ["mfcc_statistics"]
    assert {"mlp", "softmax_regression"} <= set(narrowed.space.architectures)
    assert set(narrowed.space.spaces) == {*narrowed.space.architectures, "train"}
    assert {name for sets in narrowed.space.features.values() for name in sets} == {
        "mfcc_statistics"
    }


def test_a_sweep_without_time_for_a_feature_set_ends_and_is_resumed_without_it(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_TRACKS", 4)
    monkeypatch.setattr(feature_extraction, "FEATURES_SHARE", 0.0)
    sweep = tmp_path / "little_time.yaml"
    sweep.write_text(
        f"dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}\n"
        f"budget: {{minutes: 2, trials: 2}}\nfinalists: {{folds: 2, configs: 1}}\n"
        f"cluster: {{address: none}}\nruns: {tmp_path / 'runs'}\n"
    )
    assert main(["sweep", str(sweep)]) == 0
    study = tmp_path / "runs" / "little_time"
    report = json.loads((study / "report.json").read_text())
    assert report["trials"]["complete"] + report["trials"]["pruned"] >= 1
    assert not list((tmp_path / "runs" / "cache").glob("mel-*"))
    monkeypatch.undo()
    assert main(["sweep", str(sweep), "--budget.trials", "3", "--resume"]) == 0
    assert not list((tmp_path / "runs" / "cache").glob("mel-*"))
