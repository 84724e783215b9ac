"""What every sweep over the corpus of the fixture `tiny` reports."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from chorale.search.statistics.selection import COMPARED_ONLY


@pytest.fixture
def check_report() -> Callable[[dict[str, Any]], None]:
    """Checks the content of `report.json`."""
    return _check_report


def _check_report(found: dict[str, Any]) -> None:
    assert found["study"] == "tiny"
    assert found["dataset"]["n_tracks"] == 60
    assert found["dataset"]["n_groups"] == 5
    assert found["dataset"]["labels"] == ["high", "low", "mid"]
    counts = found["trials"]
    assert counts["complete"] + counts["pruned"] + counts["failed"] == 4
    assert counts["failed"] == 0
    assert set(counts["per_architecture"]) == {"cnn", "recurrent"}
    for one in (found["best_single"], found["ensemble"]):
        assert {"kind", "members", "params", "validation", "out_of_fold", "test"} <= one.keys()
        for part in ("validation", "out_of_fold", "test"):
            scores = one[part]
            assert {"accuracy", "macro_f1", "log_loss", "ece", "n", "ci95"} <= scores.keys()
            low, high = scores["ci95"]
            assert 0 <= low <= scores["accuracy"] <= high <= 1
    losses = {
        kind: one["log_loss"]
        for kind, one in found["selection"]["figures"].items()
        if kind not in COMPARED_ONLY
    }
    assert losses[found["ensemble"]["kind"]] == pytest.approx(min(losses.values()))
    assert len(found["best_single"]["members"]) == 1
    assert {"logistic_regression", "svm"} <= found["baselines"].keys()
    single = found["best_single"]
    assert found["optimism"]["best_single"] == pytest.approx(
        single["validation"]["accuracy"] - single["test"]["accuracy"]
    )
    assert found["test_looks"] == 1
    assert {"wall_s", "core_s", "gpu_s", "trials_per_hour"} <= found["cost"].keys()
    cost = dict(found["cost"])
    stages_s = cost.pop("stages_s")
    assert {"data", "baselines", "search", "finalists", "ensembles"} <= stages_s.keys()
    assert sum(stages_s.values()) <= cost["wall_s"]
    assert all(math.isfinite(value) for value in cost.values())
    assert {"torch", "ray", "optuna", "python", "chorale-audio"} <= found["versions"].keys()
