"""Garbage collection of the feature cache: stores that a study needs are kept."""

import json
import os
import time
from pathlib import Path

import pytest

from chorale.search.cli import main
from chorale.search.data import feature_stores
from chorale.search.ledger.ledger import Ledger
from chorale.search.paths import Runs

DAY_S = 86_400.0


def _store(runs: Runs, name: str, *, recipe: str = "k", age_days: float = 2.0) -> Path:
    folder = runs.cache / name
    folder.mkdir(parents=True)
    (folder / "frames.npy").write_bytes(bytes(1000))
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({"feature": "mel", "recipe_key": recipe}))
    then = time.time() - age_days * DAY_S
    os.utime(manifest, (then, then))
    return folder


def _study(runs: Runs, ledger: Ledger, name: str, state: str, stores: list[Path] | None) -> None:
    paths = runs.study(name)
    paths.root.mkdir(parents=True)
    paths.sweep_yaml.write_text("{}")
    if stores is not None:
        paths.stores_json.write_text(json.dumps([one.name for one in stores]))
    ledger.create(name, {})
    ledger.release(name, state, spent_s=1.0)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs")


@pytest.fixture
def ledger(runs: Runs) -> Ledger:
    return Ledger(runs.ledger_url)


def test_prune_removes_only_stores_that_nothing_needs(
    runs: Runs, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    night = [_store(runs, f"mel-{i}", age_days=9 - i) for i in range(5)]
    other, fresh = _store(runs, "mel-x", recipe="other"), _store(runs, "mel-f", age_days=0.01)
    _study(runs, ledger, "night-0", "complete", [night[0]])
    _study(runs, ledger, "half", "interrupted", [night[1]])
    ledger.close()
    assert main(["data", "prune", "--runs", str(runs.root), "--dry-run"]) == 0
    assert all(folder.is_dir() for folder in night)
    assert main(["data", "prune", "--runs", str(runs.root)]) == 0
    assert [folder.is_dir() for folder in night] == [False, True, False, False, False]
    assert other.is_dir()  # the latest of its recipe
    assert fresh.is_dir()
    out = capsys.readouterr().out
    assert "needed" not in out
    assert "the interrupted study 'half'" in out
    assert "4 of 7 feature stores removed" in out
    assert sorted(path.name for path in runs.cache.iterdir()) == ["mel-1", "mel-f", "mel-x"]


def test_a_size_limit_removes_the_least_recently_used_but_none_that_a_study_needs(
    runs: Runs, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    stores = [_store(runs, f"mel-{i}", recipe=f"{i}", age_days=9 - i) for i in range(4)]
    _study(runs, ledger, "half", "interrupted", [stores[0]])
    ledger.close()
    size = sum(file.stat().st_size for file in stores[0].iterdir())
    prune = ["data", "prune", "--runs", str(runs.root), "--max-gb"]
    for limit, kept in ((4.5, 4), (2.5, 2), (0.5, 1)):
        assert main([*prune, str(limit * size / 1e9), "--dry-run"]) == 0
        assert f"{4 - kept} of 4 feature stores would be removed" in capsys.readouterr().out
    assert main([*prune, str(2.5 * size / 1e9)]) == 0
    assert [folder.is_dir() for folder in stores] == [True, False, False, True]
    assert "above --max-gb" not in capsys.readouterr().out
    assert main([*prune, "0"]) == 0
    assert [folder.is_dir() for folder in stores] == [True, False, False, False]
    assert "0.00 GB are left, above --max-gb 0: in use" in capsys.readouterr().out
    for wrong in ("-1", "many", "nan", "inf"):
        assert main([*prune, wrong]) == 2
        assert (
            f"--max-gb should be a number of 0 or more, but got '{wrong}'"
            in capsys.readouterr().err
        )


def test_an_interrupted_study_without_a_record_protects_all_unrecorded_stores(
    runs: Runs, ledger: Ledger
) -> None:
    unnamed, named, latest = (_store(runs, f"mel-{i}", age_days=9 - i) for i in range(3))
    _study(runs, ledger, "old", "interrupted", None)
    _study(runs, ledger, "new", "complete", [named])
    removed = feature_stores.prune(runs, ledger)
    ledger.close()
    assert [one.folder for one in removed] == [named]
    assert unnamed.is_dir()
    assert latest.is_dir()


def test_a_sweep_records_which_stores_it_uses(tiny: list[str], tmp_path: Path) -> None:
    none = ["--cluster.address", "none", "--budget.trials", "1"]
    assert main(["sweep", *tiny, *none]) == 0
    runs = Runs(tmp_path / "runs")
    recorded = json.loads(runs.study("tiny").stores_json.read_text())
    assert sorted(recorded) == sorted(
        path.parent.name for path in runs.cache.glob("*/manifest.json")
    )
