"""Sweeps that meet a full disk: each kind of write in turn, small disks, and a limit on files.

Some run in the ordinary suite; each kind, for one write and for good, and many sizes of a disk:

    pytest tests/search/crash --all-crashes

Every single write of a sweep: `python tests/benchmarks/fill_disks.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TRIAL, FINAL = "s/trials/0001", "s/finalists/0001/fold-1-seed-0"
WRITES: Mapping[str, tuple[str, int]] = {
    # the data
    "ledger made": ("ledger", 1),
    "ledger made, Optuna's tables": ("ledger", 8),
    "audit": ("sync cache/audit.json", 1),
    "fingerprints": ("sync cache/fingerprints*", 2),
    "features of some tracks": ("sync cache/*.npz", 3),
    "lock of the features": ("open cache/*lock", 1),
    "feature store": ("open cache/*frames.npy", 1),
    "feature store synced": ("sync cache/*frames.npy", 1),
    # the search
    "study made": ("ledger", 11),
    "sweep file": ("open s/sweep.yaml", 1),
    "split": ("sync s/split.json", 1),
    "opening": ("ledger", 18),
    "trial asked": ("ledger", 22),
    "config": (f"sync {TRIAL}/config.yaml", 1),
    "curves": (f"open {TRIAL}/events*", 1),
    "curves, later": (f"write {TRIAL}/events*", 2),
    "report": ("ledger", 26),
    "state": (f"sync {TRIAL}/state/*.safetensors", 2),
    "state's numbers": (f"sync {TRIAL}/state/state.json", 2),
    "metrics": (f"open {TRIAL}/metrics.csv", 1),
    "bank": (f"sync {TRIAL}/predictions.safetensors", 1),
    "row": ("ledger", 30),
    "hyperparameters": (f"write {TRIAL}/events*hparams", 1),
    # the finalists
    "finalist's config": (f"open {FINAL}/config.yaml", 1),
    "finalist's state": (f"sync {FINAL}/state/*", 3),
    "checkpoint": (f"sync {FINAL}/weights/*.safetensors", 1),
    "checkpoint's card": (f"sync {FINAL}/weights/card.json", 1),
    "finalist's bank": (f"open {FINAL}/predictions.safetensors", 1),
    # the end
    "truth": ("sync s/truth.json", 1),
    "baseline": ("sync s/baselines/*", 1),
    "ensemble": ("sync s/ensembles/*.json", 2),
    "ensemble's model": ("sync s/ensembles/*.safetensors", 3),
    "leaderboard": ("open s/leaderboard.csv", 1),
    "report.json": ("sync s/report.json", 1),
}
"""Names fit one write of the sweep each: the k-th of those that look like this."""

ORDINARY = (
    ("features of some tracks", True),
    ("trial asked", False),
    ("curves, later", False),
    ("state", True),
    ("bank", True),
    ("checkpoint", False),
    ("report.json", True),
)
LEVELS = (0.35, 0.8)
"""Small disks: the share of what the whole sweep takes."""
LONGEST = (250_000, 450_000)
"""Limits on the length of a file, in bytes: the ledger's is the longest."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    all_of_them = metafunc.config.getoption("--all-crashes", default=False)
    if "write" in metafunc.fixturenames:
        every = [(name, for_good) for name in WRITES for for_good in (False, True)]
        chosen = every if all_of_them else ORDINARY
        names = [f"{name}, {'for good' if for_good else 'once'}" for name, for_good in chosen]
        metafunc.parametrize(("write", "for_good"), chosen, ids=names)
    if "share" in metafunc.fixturenames:
        shares = [i / 40 for i in range(1, 41)] if all_of_them else LEVELS
        metafunc.parametrize("share", shares)
    if "longest" in metafunc.fixturenames:
        limits = range(20_000, 700_000, 20_000) if all_of_them else LONGEST
        metafunc.parametrize("longest", limits)


@pytest.fixture
def place(cases: ModuleType, script: ModuleType, whole: Any, tmp_path: Path) -> Any:
    """An empty folder for one sweep."""
    place = cases.Place(tmp_path / "case", whole.corpus)
    place.set_up(script.write_sweep, cache=None)
    return place


def test_a_full_disk_at_any_write_is_one_line_and_then_it_goes_on(
    driver: Any,
    cases: ModuleType,
    disks: ModuleType,
    whole: Any,
    place: Any,
    write: str,
    for_good: bool,
) -> None:
    like, k = WRITES[write]
    notes = place.root / "notes"
    full = {"root": str(place.runs), "k": k, "like": like, "for_good": for_good}
    noted = {"log": place.log, "acks": str(place.acks)}
    code = driver.run(place.command(), **noted, full={**full, "notes": str(notes)})
    failed = [line[1:] for line in notes.read_text().splitlines() if line.startswith("!")]
    assert failed, f"no {k}-th write like {like}: {notes.read_text()}"
    beside = any(part in failed[0] for part in disks.BESIDE)
    assert code == (0 if beside and not for_good else 1), place.log.read_text()
    assert disks.ill_told(code, place.log.read_text()) == []
    before = place.rows()
    if code:
        place.log.unlink()
        code = driver.run(place.command(), **noted)
    assert code == 0, place.log.read_text()
    assert disks.unlike(cases, place, whole, before) == []


def test_a_small_disk_is_one_line_and_with_more_room_it_goes_on(
    driver: Any, cases: ModuleType, disks: ModuleType, whole: Any, place: Any, share: float
) -> None:
    n_bytes = int(disks.pages(whole.runs) * share) * disks.PAGE
    noted = {"log": place.log, "acks": str(place.acks)}
    try:
        with disks.small_disk(place.runs, n_bytes):
            code = driver.run(place.command(), **noted)
            assert disks.ill_told(code, place.log.read_text()) == []
            disks.grow(place.runs, 64 * 2**20)
            before = place.rows()
            if code:
                code = driver.run(place.command(), **noted)
            assert code == 0, place.log.read_text()
            assert disks.unlike(cases, place, whole, before) == []
    except disks.CannotMountError as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")


def test_a_limit_on_files_is_one_line_and_without_it_it_goes_on(
    driver: Any, cases: ModuleType, disks: ModuleType, whole: Any, place: Any, longest: int
) -> None:
    noted = {"log": place.log, "acks": str(place.acks)}
    code = driver.run(place.command(), **noted, longest=longest)
    assert disks.ill_told(code, place.log.read_text()) == []
    before = place.rows()
    if code:
        code = driver.run(place.command(), **noted)
    assert code == 0, place.log.read_text()
    assert disks.unlike(cases, place, whole, before) == []
