"""GPU shares by measured peak memory: bounds, retries after out-of-memory, earlier runs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from chorale.cluster.base import Decision, End, Failure, Outcome, Resources, TrialSpec
from chorale.search.ledger.ledger import Row
from chorale.search.sweep.gpu_shares import Peaks, Shape, Sized, recorded_peaks
from chorale.search.training.trial_plan import TrialResult

GIB = 2**30
GPU = 16 * GIB
WHOLE = Resources(2, 1)


@dataclass(frozen=True)
class Plan:
    """The fields of a `TrialPlan` that determine its memory."""

    architecture: str = "cnn"
    features: str = "mel"
    config: Mapping[str, Any] = Mapping  # type: ignore[assignment]
    train: Mapping[str, Any] = Mapping  # type: ignore[assignment]


def plan(**changes: Any) -> Plan:
    base = Plan(
        config={"width": 32, "n_layers": 3, "pooling": "mean", "dropout": 0.1},
        train={"batch_size": 32, "crop_s": 3.0, "lr": 1e-3},
    )
    for part in ("config", "train"):
        if part in changes:
            changes[part] = {**getattr(base, part), **changes[part]}
    return replace(base, **changes)


def shape(plan: Plan) -> Shape:
    return Shape.of(plan.architecture, plan.features, plan.config, plan.train)


def result(**memory: Any) -> TrialResult:
    return TrialResult(
        metrics={"accuracy": 0.5},
        epoch=1,
        n_parameters=1,
        train_s=0.0,
        valid_s=0.0,
        wall_s=0.0,
        valid_proba=np.zeros((1, 2), np.float32),
        **memory,
    )


class Plans:
    """Trials with these plans, and a record of their outcomes."""

    def __init__(self, *plans: Plan) -> None:
        self.left = [TrialSpec(i, {"plan": plan}) for i, plan in enumerate(plans)]
        self.outcomes: list[tuple[int, Outcome]] = []

    def done(self) -> bool:
        return not self.left

    def ask(self, n: int) -> list[TrialSpec]:
        specs, self.left = self.left[:n], self.left[n:]
        return specs

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        return Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        self.outcomes.append((trial_id, outcome))


def next_resources(sized: Sized) -> Resources:
    [spec] = sized.ask(1)
    assert spec.resources is not None
    return spec.resources


def test_the_first_run_of_a_kind_gets_a_whole_gpu_and_later_ones_a_measured_share() -> None:
    inside = Plans(plan(), plan(), plan(architecture="crnn"))
    sized = Sized(inside, WHOLE, Peaks())
    assert next_resources(sized) == WHOLE
    ended = Outcome(End.FINISHED, result(peak_bytes=2 * GIB, device_bytes=GPU))
    sized.tell(0, ended)
    assert next_resources(sized) == Resources(2, 0.25)
    assert next_resources(sized) == WHOLE
    assert inside.outcomes == [(0, ended)]


def test_runs_on_feature_tables_get_no_gpu() -> None:
    sized = Sized(Plans(plan(architecture="mlp", features="stats57")), WHOLE, Peaks())
    assert next_resources(sized) == Resources(2, 0)


def test_a_retry_after_out_of_memory_gets_a_whole_gpu() -> None:
    peaks = Peaks()
    peaks.add(shape(plan()), GIB, GPU)
    inside = Plans(plan(), plan())
    sized = Sized(inside, WHOLE, peaks)
    assert next_resources(sized).gpus < 1
    sized.tell(0, Outcome(End.FAILED, failure=Failure.OUT_OF_MEMORY))
    inside.left.insert(0, TrialSpec(0, {"plan": plan()}))
    assert next_resources(sized) == WHOLE
    assert next_resources(sized).gpus < 1


def test_memory_measured_on_a_cpu_is_not_used_for_gpu_shares() -> None:
    peaks = Peaks()
    sized = Sized(Plans(plan(), plan()), WHOLE, peaks)
    next_resources(sized)
    sized.tell(0, Outcome(End.FINISHED, result(peak_bytes=GIB)))
    assert peaks.need_bytes(shape(plan())) is None


@pytest.mark.parametrize(
    ("other", "times"),
    [
        (plan(), 1),
        (plan(config={"dropout": 0.5}, train={"lr": 1.0}), 1),
        (plan(config={"width": 64}), 2),
        (plan(config={"width": 64, "n_layers": 6}, train={"batch_size": 64}), 8),
        (plan(config={"width": 8}), 1),
        (plan(config={"width": 8, "n_layers": 6}), 2),
        (plan(config={"pooling": "max"}), None),
        (plan(features="mfcc"), None),
    ],
)
def test_memory_grows_at_most_in_proportion_to_each_size(other: Plan, times: int | None) -> None:
    peaks = Peaks()
    peaks.add(shape(plan()), GIB, GPU)
    assert peaks.need_bytes(shape(other)) == (None if times is None else times * GIB)


def test_the_lowest_bound_and_the_smallest_gpu_count() -> None:
    peaks = Peaks()
    peaks.add(shape(plan()), GIB, 2 * GPU)
    peaks.add(shape(plan(config={"width": 64})), GIB + GIB // 2, GPU)
    assert peaks.need_bytes(shape(plan(config={"width": 64}))) == GIB + GIB // 2
    assert peaks.device_bytes == GPU


def test_peaks_of_earlier_runs_are_read_from_the_ledger() -> None:
    known = plan()
    facts = {
        "architecture": known.architecture,
        "features": known.features,
        "config": known.config,
        "train": known.train,
    }
    measured = result(peak_bytes=GIB, device_bytes=GPU).facts()
    rows = [
        Row("0", "COMPLETE", "", {**facts, **measured}),
        Row("1", "FAIL", "an error", facts),
        Row("2", "COMPLETE", "", {**facts, **result(peak_bytes=1).facts()}),
    ]
    peaks = recorded_peaks(rows, lambda candidate: {**candidate.config, "weights": "none"})
    whole = {**known.config, "weights": "none"}  # the search has no part in it
    assert peaks.need_bytes(shape(plan(config=whole))) == GIB
    assert peaks.device_bytes == GPU
