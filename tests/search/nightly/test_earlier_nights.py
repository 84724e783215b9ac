"""Finalists of an earlier night join tonight's ensemble, or are excluded with a reason."""

import itertools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from chorale.search.config.schema import FinalistsConfig, SweepConfig
from chorale.search.ledger import stages
from chorale.search.ledger.ground_truth import read_ground_truth
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.reader import Row
from chorale.search.nightly import earlier_nights
from chorale.search.paths import Runs
from tests.search.further_seeds import add_seed


@pytest.mark.parametrize("damage", ["garbage", "missing"])
def test_an_earlier_finalist_with_damaged_files_is_excluded_and_its_files_stay(
    tmp_path: Path, damage: str
) -> None:
    runs = Runs(tmp_path)
    source_study, target_study = runs.study("before"), runs.study("tonight")
    files = source_study.finalist(7, fold=0, seed=0)
    files.weights.mkdir(parents=True)
    (files.weights / "weights.safetensors").write_bytes(b"w")
    source_study.trial(7).root.mkdir(parents=True)
    source_study.trial(7).predictions.write_bytes(b"garbage")
    if damage == "garbage":
        files.predictions.write_bytes(b"garbage")
    split = SimpleNamespace(
        n_folds=1, hash="h", development_ids=("a",), test_ids=("b",), valid_ids=lambda fold: ("a",)
    )
    rows = {
        stages.FINALISTS: {"7/0/0": Row("7/0/0", "COMPLETE")},
        stages.SEARCH: {"7": Row("7", "COMPLETE", "", {"architecture": "cnn"})},
    }
    context: dict[str, Any] = {
        "resolved": SimpleNamespace(
            sweep=SimpleNamespace(finalists=FinalistsConfig(), paths=target_study)
        ),
        "prepared": SimpleNamespace(split=split),
        "ledger": SimpleNamespace(rows=lambda study, stage: rows[stage]),
    }
    members, lines = earlier_nights._members(
        source_study, target_study, 3, name="before", **context
    )
    assert members == []
    assert len(lines) == 1
    assert lines[0].startswith("finalist 7 of before is excluded: ")
    assert source_study.trial(7).predictions.read_bytes() == b"garbage"
    assert (files.weights / "weights.safetensors").is_file()
    assert not target_study.trial(3 * earlier_nights.NUMBERS_PER_NIGHT + 7).root.exists()


@pytest.mark.parametrize(
    ("seeds", "expected"), [(None, {0: (0, 1), 1: (0,), 2: (0,)}), (2, {0: (0, 1)})]
)
def test_an_earlier_finalist_joins_with_the_seeds_that_are_complete_and_kept(
    load_benchmark: Callable[[str], ModuleType],
    tmp_path: Path,
    seeds: int | None,
    expected: dict[int, tuple[int, ...]],
) -> None:
    """Of finalists 0 and 1 a second seed is complete; of 1 its weights were removed since."""
    before: SweepConfig = load_benchmark("bench_ensembles").make_study(
        tmp_path, n_members=3, n_tracks=112, n_classes=4, width=8
    )
    add_seed(before.paths, {0: 5, 1: 5, 2: 4})
    tonight, truth = Runs(tmp_path).study("tonight"), read_ground_truth(before.paths)
    assert truth is not None
    for number, seed, fold in itertools.product(range(3), range(2), range(5)):
        weights = before.paths.finalist(number, fold=fold, seed=seed).weights
        weights.mkdir(parents=True)
        if (number, seed) != (1, 1):
            (weights / "weights.safetensors").write_bytes(b"w")
    context: dict[str, Any] = {
        "resolved": SimpleNamespace(
            sweep=SimpleNamespace(finalists=FinalistsConfig(seeds=seeds), paths=tonight)
        ),
        "prepared": SimpleNamespace(split=truth.split),
    }
    with Ledger(before.ledger_url) as ledger:
        members, lines = earlier_nights._members(
            before.paths, tonight, 1, name=before.name, ledger=ledger, **context
        )
    assert lines == []
    assert {int(m.name) - earlier_nights.NUMBERS_PER_NIGHT: m.seeds for m in members} == expected
