"""Trials on nodes that join, and on parts of pretended GPUs; all nodes are on this machine."""

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
"""So long trials are run before a node that is not used is given up."""


def where(spec: TrialSpec, report: Report) -> tuple[str, str]:
    """The node, and the GPU, that the trial runs on."""
    import ray

    time.sleep(0.3)
    node: str = ray.get_runtime_context().get_node_id()
    return node, os.environ.get("CUDA_VISIBLE_DEVICES", "")


class Endless:
    """Trials until as many nodes as are wanted have run some of them; calls `first` at the first
    one's end, `begun` when the first one is asked for.
    """

    def __init__(
        self,
        n_nodes: int,
        *,
        first: Callable[[], Any] = lambda: None,
        begun: Callable[[], Any] = lambda: None,
    ) -> None:
        self.n_nodes = n_nodes
        self.first = first
        self.begun = begun
        self.n_asked = 0
        self.give_up = time.monotonic() + PATIENCE_S
        self.values: list[tuple[str, str]] = []

    def done(self) -> bool:
        n_nodes = len({node for node, _ in self.values})
        return n_nodes >= self.n_nodes or time.monotonic() > self.give_up

    def ask(self, n: int) -> list[TrialSpec]:
        self.n_asked += 1
        if self.n_asked == 1:
            self.begun()
        return [TrialSpec(self.n_asked)]

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        return Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        assert outcome.value is not None, outcome.reason
        self.values.append(outcome.value)
        if len(self.values) == 1:
            self.first()


@pytest.fixture(scope="module")
def cluster(own_cluster: Callable[..., AbstractContextManager[Any]]) -> Iterator[Any]:
    """One node of three CPUs and one pretended GPU, at first."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    with pytest.MonkeyPatch.context() as patch, own_cluster(num_cpus=3, num_gpus=1) as made:
        patch.setattr("chorale.cluster.tune.runner.ROOM_CHECK_S", 0.5)
        yield made


def meet(spec: TrialSpec, report: Report) -> tuple[int, str]:
    """How many trials were there at once, at most, and the GPU that this one has."""
    folder = Path(spec.payload["folder"])
    (mine := folder / str(spec.trial_id)).touch()
    most, give_up = 0, time.monotonic() + spec.payload["wait_s"]
    while most < spec.payload["n"] and time.monotonic() < give_up:
        most = max(most, len(list(folder.iterdir())))
        time.sleep(0.02)
    time.sleep(0.5)  # so that the others see it, too
    mine.unlink()
    return most, os.environ.get("CUDA_VISIBLE_DEVICES", "")


class Sizes:
    """Trials that take what they say."""

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


def test_trials_that_take_parts_share_a_gpu_and_those_that_take_none_run_beside_them(
    cluster: Any, tmp_path: Path
) -> None:
    """A whole GPU, then two halves of it and none at once, then a whole one again."""
    from chorale.cluster.tune.runner import TuneRunner

    (folder := tmp_path / "meeting").mkdir()
    whole, half, none = Resources(1, 1), Resources(1, 0.5), Resources(1)
    sizes = [whole, half, none, half, whole]
    n_at_once = [1, 3, 3, 3, 1]
    trials = Sizes(
        *(
            TrialSpec(i, {"folder": str(folder), "n": n, "wait_s": 100.0}, resources=size)
            for i, (size, n) in enumerate(zip(sizes, n_at_once, strict=True))
        )
    )
    TuneRunner(whole, max_concurrent=None, storage=tmp_path).run(trials, meet)
    assert [trials.values[i][0] for i in (1, 2, 3)] == [3, 3, 3]
    assert [trials.values[i][1] for i in range(5)] == ["0", "0", "", "0", "0"]


@pytest.mark.heavy
def test_a_node_that_joins_while_trials_run_gets_some(cluster: Any, tmp_path: Path) -> None:
    from chorale.cluster.tune.runner import TuneRunner

    trials = Endless(2, first=lambda: cluster.add_node(wait=False, **NODE, num_cpus=2))
    TuneRunner(Resources(2), max_concurrent=None, storage=tmp_path).run(trials, where)
    assert len({node for node, _ in trials.values}) == 2


@pytest.mark.heavy
def test_a_trial_that_fits_nowhere_waits_for_a_node_where_nodes_are_started_on_demand(
    cluster: Any, tmp_path: Path
) -> None:
    from chorale.cluster.tune.runner import TuneRunner

    def join() -> None:
        cluster.add_node(**NODE, num_cpus=4, num_gpus=1, wait=False)

    trials, wanted = Endless(1, begun=join), Resources(cpus=4, gpus=1)
    with pytest.raises(ClusterError, match=r"4 CPUs and 1 GPUs on one node, but"):
        TuneRunner(wanted, max_concurrent=1, storage=tmp_path).run(trials, where)
    TuneRunner(wanted, max_concurrent=1, storage=tmp_path, elastic=True).run(trials, where)
    assert trials.n_asked == 1
    assert [gpu for _, gpu in trials.values] == ["0"]


def test_one_that_starts_nodes_on_demand_is_told_how_many_trials_are_wanted(tmp_path: Path) -> None:
    from chorale.cluster.tune.runner import TuneRunner

    with pytest.raises(ClusterError, match=r"--cluster\.trials_at_once 8"):
        TuneRunner(Resources(), max_concurrent=None, storage=tmp_path, elastic=True)
