"""Finalists of an earlier night join tonight's ensemble, or it is said why not."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chorale.search.ledger import stages
from chorale.search.ledger.reader import Row
from chorale.search.nightly import earlier
from chorale.search.paths import Runs


@pytest.mark.parametrize("damage", ["garbage", "missing"])
def test_a_damaged_file_of_an_earlier_member_is_said_and_stays_where_it_is(
    tmp_path: Path, damage: str
) -> None:
    runs = Runs(tmp_path)
    theirs, mine = runs.study("before"), runs.study("tonight")
    files = theirs.finalist(7, fold=0, seed=0)
    files.weights.mkdir(parents=True)
    (files.weights / "weights.safetensors").write_bytes(b"w")
    theirs.trial(7).root.mkdir(parents=True)
    theirs.trial(7).predictions.write_bytes(b"garbage")
    if damage == "garbage":
        files.predictions.write_bytes(b"garbage")
    split = SimpleNamespace(
        n_folds=1, hash="h", development_ids=("a",), test_ids=("b",), valid_ids=lambda fold: ("a",)
    )
    rows = {
        stages.FINALISTS: {"7/0/0": Row("7/0/0", "COMPLETE")},
        stages.SEARCH: {"7": Row("7", "COMPLETE", "", {"architecture": "cnn"})},
    }
    told: dict[str, Any] = {
        "resolved": SimpleNamespace(
            sweep=SimpleNamespace(finalists=SimpleNamespace(seeds=1), paths=mine)
        ),
        "prepared": SimpleNamespace(split=split),
        "ledger": SimpleNamespace(rows=lambda study, stage: rows[stage]),
    }
    members, lines = earlier._members(theirs, mine, 3, name="before", **told)
    assert members == []
    assert len(lines) == 1
    assert lines[0].startswith("finalist 7 of before stays out: ")
    assert theirs.trial(7).predictions.read_bytes() == b"garbage"
    assert (files.weights / "weights.safetensors").is_file()
    assert not mine.trial(3 * earlier.EACH + 7).root.exists()
