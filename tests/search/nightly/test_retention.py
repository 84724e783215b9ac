"""Retention: unneeded weights are removed and reported, predictions stay."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chorale.search.champion.registry.registry import Registry
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.reader import Row
from chorale.search.ledger.stages import SEARCH
from chorale.search.nightly.config import Nightly, load_nightly
from chorale.search.nightly.records import Night, Records
from chorale.search.nightly.retention import clean_up, disk_bytes

KB = 1000


def _fill(nightly: Nightly, night: Night) -> None:
    """Five trials, the later the better; finalists 3, 4 and one of an earlier night."""
    paths = nightly.runs.study(night.study)
    for number in range(5):
        _write_weights(paths.trial(number).root)
    for number in (3, 4, 20004):
        _write_weights(paths.finalist(number, fold=0, seed=0).root)
    ledger = Ledger(nightly.sweep.ledger_url)
    ledger.create(night.study, {})
    for number in range(5):
        facts = {"metrics": {"accuracy": number / 10}}
        ledger.record(night.study, SEARCH, Row(str(number), "COMPLETE", facts=facts))
    ledger.release(night.study, "complete", spent_s=1.0)
    ledger.close()


def _write_weights(root: Path) -> None:
    (root / "weights").mkdir(parents=True)
    (root / "weights" / "w.safetensors").write_bytes(b"w" * 100 * KB)
    (root / "predictions.safetensors").write_bytes(b"p" * KB)


def _left(nightly: Nightly, night: Night) -> list[str]:
    root = nightly.runs.study(night.study).root
    return sorted(str(path.parent.relative_to(root)) for path in root.rglob("weights"))


def test_weights_of_members_and_of_the_best_are_kept(
    nightly: Nightly, recorded: Callable[..., Night]
) -> None:
    night = recorded(2, "KEPT", members=[3, 20004])
    _fill(nightly, night)
    _write_weights(Records(nightly.paths).night(night.date).bundle.root)
    removed = clean_up(
        load_nightly(nightly.file, {"retention.top": 1}),
        Records(nightly.paths),
        night,
        Registry(nightly.runs.champion("tiny")),
    )
    assert _left(nightly, night) == [
        "finalists/0003/fold-0-seed-0",
        "finalists/0004/fold-0-seed-0",
        "finalists/20004/fold-0-seed-0",
        "trials/0003",
        "trials/0004",
    ]
    assert removed == [
        "weights of the search's trials: 3, 0.3 MB",
        "the candidate's bundle: 1, 0.1 MB",
    ]
    root = nightly.runs.study(night.study).root
    assert len(list(root.rglob("predictions.safetensors"))) == 8


def test_over_the_limit_the_oldest_nights_lose_their_weights_first(
    nightly: Nightly, recorded: Callable[..., Night]
) -> None:
    nights = [recorded(day, "KEPT", members=[3]) for day in (2, 3, 4)]
    for night in nights:
        _fill(nightly, night)
    limited = load_nightly(nightly.file, {"retention.top": 0, "retention.max_gb": 0.0018})
    removed = clean_up(
        limited, Records(nightly.paths), nights[-1], Registry(nightly.runs.champion("tiny"))
    )
    assert _left(nightly, nights[0]) == []
    assert len(_left(nightly, nights[1])) == 8
    assert _left(nightly, nights[2]) == ["finalists/0003/fold-0-seed-0", "trials/0003"]
    assert any("over 0.0018 GB: weights of tiny-2026-11-02" in line for line in removed)


def test_a_limit_that_cannot_be_met_is_reported(
    nightly: Nightly, recorded: Callable[..., Night]
) -> None:
    night = recorded(2, "KEPT", members=[3])
    _fill(nightly, night)
    limited = load_nightly(nightly.file, {"retention.max_gb": 1e-6})
    removed = clean_up(
        limited, Records(nightly.paths), night, Registry(nightly.runs.champion("tiny"))
    )
    assert "nothing more can be removed" in removed[-1]


@pytest.mark.parametrize("linked", [True, False])
def test_hard_links_count_once(tmp_path: Path, linked: bool) -> None:
    (tmp_path / "a").write_bytes(b"x" * KB)
    if linked:
        (tmp_path / "b").hardlink_to(tmp_path / "a")
    else:
        (tmp_path / "b").write_bytes(b"x" * KB)
    assert disk_bytes([tmp_path]) == (KB if linked else 2 * KB)
