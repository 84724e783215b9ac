"""Trials on fractions of a simulated GPU."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chorale.cluster.base import Decision, Outcome, Report, Resources, TrialSpec

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


def meet(spec: TrialSpec, report: Report) -> tuple[int, str]:
    """The maximum number of concurrent trials, and this trial's GPU."""
    folder = Path(spec.payload["folder"])
    (mine := folder / str(spec.trial_id)).touch()
    most, give_up = 0, time.monotonic() + spec.payload["wait_s"]
    while most < spec.payload["n"] and time.monotonic() < give_up:
        most = max(most, len(list(folder.iterdir())))
        time.sleep(0.02)
    time.sleep(0.2)  # so that the others count this one
    mine.unlink()
    return most, os.environ.get("CUDA_VISIBLE_DEVICES", "")


class Sizes:
    """Trials with resources of their own."""

    def __init__(self, *specs: TrialSpec) -> None:
        self.left = list(specs)
        self.values: dict[int, Any] = {}

    def done(self) -> bool:
        return not self.left

    def ask(self, n: int) -> list[TrialSpec]:
        specs, self.left = self.left[:n], self.left[n:]
        return specs

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        return Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        assert outcome.value is not None, outcome.reason
        self.values[trial_id] = outcome.value


def test_trials_with_fractions_share_a_gpu_and_trials_without_gpu_run_beside_them(
    private_ray: None, tmp_path: Path
) -> None:
    """A trial on a full GPU, then two on half of it and one on none, then a full one again."""
    from ray import cloudpickle

    from chorale.cluster.local_workers.fork_client import fork_server
    from chorale.cluster.tune.runner import TuneRunner

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    (folder := tmp_path / "meeting").mkdir()
    full, half, none = Resources(0.5, 1), Resources(0.5, 0.5), Resources(0.5)
    sizes = [full, half, none, half, full]
    n_at_once = [1, 3, 3, 3, 1]
    trials = Sizes(
        *(
            TrialSpec(i, {"folder": str(folder), "n": n, "wait_s": 100.0}, resources=size)
            for i, (size, n) in enumerate(zip(sizes, n_at_once, strict=True))
        )
    )
    with fork_server(()) as socket:
        runner = TuneRunner(full, max_concurrent=None, storage=tmp_path, fork_socket=socket)
        runner.run(trials, meet)
    assert [trials.values[i][0] for i in (1, 2, 3)] == [3, 3, 3]
    assert [trials.values[i][1] for i in range(5)] == ["0", "0", "", "0", "0"]
