"""Trials on nodes that join, and on fractions of simulated GPUs; all nodes are on this machine."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from chorale.cluster.base import ClusterError, Decision, Outcome, Report, Resources, TrialSpec

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

NODE = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
PATIENCE_S = 200.0
"""How long trials are run to wait until every node is used."""


def where(spec: TrialSpec, report: Report) -> tuple[str, str]:
    """The node and the GPU that the trial runs on."""
    import ray

    time.sleep(0.3)
    node: str = ray.get_runtime_context().get_node_id()
    return node, os.environ.get("CUDA_VISIBLE_DEVICES", "")


class Endless:
    """Trials until `n_nodes` nodes have run some of them.

    Calls `on_first_ask` when the first trial is asked for, `on_first_end` when it has ended.
    """

    def __init__(
        self,
        n_nodes: int,
        *,
        on_first_end: Callable[[], Any] = lambda: None,
        on_first_ask: Callable[[], Any] = lambda: None,
    ) -> None:
        self.n_nodes = n_nodes
        self.on_first_end = on_first_end
        self.on_first_ask = on_first_ask
        self.n_asked = 0
        self.give_up = time.monotonic() + PATIENCE_S
        self.values: list[tuple[str, str]] = []

    def done(self) -> bool:
        n_nodes = len({node for node, _ in self.values})
        return n_nodes >= self.n_nodes or time.monotonic() > self.give_up

    def ask(self, n: int) -> list[TrialSpec]:
        self.n_asked += 1
        if self.n_asked == 1:
            self.on_first_ask()
        return [TrialSpec(self.n_asked)]

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        return Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        assert outcome.value is not None, outcome.reason
        self.values.append(outcome.value)
        if len(self.values) == 1:
            self.on_first_end()


@pytest.fixture(scope="module")
def cluster(own_cluster: Callable[..., AbstractContextManager[Any]]) -> Iterator[Any]:
    """At first one node with three CPUs and one simulated GPU."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    with pytest.MonkeyPatch.context() as patch, own_cluster(num_cpus=3, num_gpus=1) as made:
        patch.setattr("chorale.cluster.tune.runner.ROOM_CHECK_S", 0.5)
        yield made


def meet(spec: TrialSpec, report: Report) -> tuple[int, str]:
    """The maximum number of concurrent trials, and this trial's GPU."""
    folder = Path(spec.payload["folder"])
    (mine := folder / str(spec.trial_id)).touch()
    most, give_up = 0, time.monotonic() + spec.payload["wait_s"]
    while most < spec.payload["n"] and time.monotonic() < give_up:
        most = max(most, len(list(folder.iterdir())))
        time.sleep(0.02)
    time.sleep(0.5)  # so that the others count this one
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
    cluster: Any, tmp_path: Path
) -> None:
    """A trial on a full GPU, then two on half of it and one on none, then a full one again."""
    from chorale.cluster.tune.runner import TuneRunner

    (folder := tmp_path / "meeting").mkdir()
    full, half, none = Resources(1, 1), Resources(1, 0.5), Resources(1)
    sizes = [full, half, none, half, full]
    n_at_once = [1, 3, 3, 3, 1]
    trials = Sizes(
        *(
            TrialSpec(i, {"folder": str(folder), "n": n, "wait_s": 100.0}, resources=size)
            for i, (size, n) in enumerate(zip(sizes, n_at_once, strict=True))
        )
    )
    TuneRunner(full, max_concurrent=None, storage=tmp_path).run(trials, meet)
    assert [trials.values[i][0] for i in (1, 2, 3)] == [3, 3, 3]
    assert [trials.values[i][1] for i in range(5)] == ["0", "0", "", "0", "0"]


@pytest.mark.heavy
def test_a_node_that_joins_during_the_run_gets_trials(cluster: Any, tmp_path: Path) -> None:
    from chorale.cluster.tune.runner import TuneRunner

    trials = Endless(2, on_first_end=lambda: cluster.add_node(wait=False, **NODE, num_cpus=2))
    TuneRunner(Resources(2), max_concurrent=None, storage=tmp_path).run(trials, where)
    assert len({node for node, _ in trials.values}) == 2


@pytest.mark.heavy
def test_on_an_elastic_cluster_a_trial_that_fits_nowhere_waits_for_a_node(
    cluster: Any, tmp_path: Path
) -> None:
    from chorale.cluster.tune.runner import TuneRunner

    def join() -> None:
        cluster.add_node(**NODE, num_cpus=4, num_gpus=1, wait=False)

    trials, wanted = Endless(1, on_first_ask=join), Resources(cpus=4, gpus=1)
    with pytest.raises(ClusterError, match=r"4 CPUs and 1 GPUs on one node, but"):
        TuneRunner(wanted, max_concurrent=1, storage=tmp_path).run(trials, where)
    TuneRunner(wanted, max_concurrent=1, storage=tmp_path, elastic=True).run(trials, where)
    assert trials.n_asked == 1
    assert [gpu for _, gpu in trials.values] == ["0"]


def test_an_elastic_cluster_requires_the_number_of_concurrent_trials(tmp_path: Path) -> None:
    from chorale.cluster.tune.runner import TuneRunner

    with pytest.raises(ClusterError, match=r"--cluster\.trials_at_once 8"):
        TuneRunner(Resources(), max_concurrent=None, storage=tmp_path, elastic=True)
