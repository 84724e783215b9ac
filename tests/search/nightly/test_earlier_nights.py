"""Finalists of an earlier night join tonight's ensemble, or are excluded with a reason."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chorale.search.ledger import stages
from chorale.search.ledger.reader import Row
from chorale.search.nightly import earlier_nights
from chorale.search.paths import Runs


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
            sweep=SimpleNamespace(finalists=SimpleNamespace(seeds=1), paths=target_study)
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
