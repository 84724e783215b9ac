"""A trial that several processes train together, on as many GPUs or none, through Ray Train.

`cluster.tune.runner` runs such a trial as any other; its work function is a `Together`, which
starts the processes, lets each do the work as one of a `Group`, and passes reports and decisions
on.

The trial itself takes nothing, and Ray gives the processes their places all at once or not at all,
so that no two trials can wait for one another, each with half of what it needs.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import cloudpickle
from ray.exceptions import RayActorError

from chorale.cluster.base import Decision, Group, Report, Resources, TrialSpec, Work, WorkerLost
from chorale.cluster.environment import environment
from chorale.cluster.local_workers.attempt import use_threads

SETTINGS = {
    # how often, in seconds, it looks whether the processes live and whether they are done
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # of a node that is about to go it is known when its processes are gone, as of any other
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # a trial that waits for a place keeps its turn; else it gives it up each minute and asks anew
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "86400",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
"""Variables that Ray Train reads."""

COLLECTIVE_TIMEOUT_S = 1800
"""How long a process waits for the others before it gives up."""

DRIVER: Mapping[str, float] = {"memory": 1}
"""What the trial's own process asks for, which only waits: one byte, as it cannot be nothing."""

CONSEQUENCES = ("Connection closed by peer", "Connection reset by peer", "gloo/", "NCCL", "ncclS")
"""In the text of what a process raises because another one is gone."""


@dataclass(frozen=True)
class Together:
    """`work` as it is done by `resources.workers` processes; a `Work` itself.

    The value is that of the first process. If one of them is lost, so is the trial: the others
    could not go on without it.
    """

    work: Work
    resources: Resources

    def __call__(self, spec: TrialSpec, report: Report) -> Any:
        """Starts the processes, and returns when all of them are done.

        Raises:
            WorkerLost: one of them, or its node, is gone.
            Exception: what the work raised in one of them.
        """
        relay = ray.remote(num_cpus=0)(Relay).remote()
        with ThreadPoolExecutor(1) as pool:
            end = pool.submit(self._fit, spec, relay)
            end.add_done_callback(lambda _: relay.close.remote())
            _pass_on(relay, report, end)
            return end.result()

    def _fit(self, spec: TrialSpec, relay: Any) -> Any:
        from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchConfig, TorchTrainer

        each, work = self.resources.each, cloudpickle.dumps(self.work)
        scaling = ScalingConfig(
            num_workers=self.resources.workers,
            use_gpu=each.gpus > 0,
            resources_per_worker={"CPU": each.cpus, "GPU": each.gpus},
        )

        def run() -> Any:
            return _one_of_them(work, spec, relay, max(1, int(each.cpus)))

        with (
            tempfile.TemporaryDirectory(prefix="chorale-") as scratch,
            environment(SETTINGS),
        ):
            trainer = TorchTrainer(
                run,
                torch_config=TorchConfig(timeout_s=COLLECTIVE_TIMEOUT_S),
                scaling_config=scaling,
                run_config=RunConfig(
                    name="trial",
                    storage_path=scratch,
                    # whoever gave the trial decides whether it is tried again
                    failure_config=FailureConfig(max_failures=0, max_preemption_failures=0),
                ),
            )
            try:
                return trainer.fit().return_value
            except TrainingFailedError as error:
                raise _cause(error) from error


class Relay:
    """An actor between the processes of a trial and the one that waits for them.

    The first process says how far the trial is; all of them get to know what was decided.
    """

    def __init__(self) -> None:
        self._said: asyncio.Queue[tuple[int, Mapping[str, float]] | None] = asyncio.Queue()
        self._decisions: dict[int, asyncio.Future[Decision]] = {}

    async def say(self, step: int, metrics: Mapping[str, float]) -> Decision:
        """The first process reports; returns what was decided."""
        self._said.put_nowait((step, metrics))
        return await self.decision(step)

    async def decision(self, step: int) -> Decision:
        """What was decided at a step, as soon as it is."""
        return await self._at(step)

    async def hear(self) -> tuple[int, Mapping[str, float]] | None:
        """The next report; None when there will be no more."""
        return await self._said.get()

    async def decide(self, step: int, decision: Decision) -> None:
        """The answer to a report."""
        self._at(step).set_result(decision)

    async def close(self) -> None:
        """Says that there will be no more reports."""
        self._said.put_nowait(None)

    def _at(self, step: int) -> "asyncio.Future[Decision]":
        return self._decisions.setdefault(step, asyncio.get_running_loop().create_future())


def _pass_on(relay: Any, report: Report, end: "Future[Any]") -> None:
    """Reports what the processes say until they are done."""
    try:
        while (said := ray.get(relay.hear.remote())) is not None:
            relay.decide.remote(said[0], report(*said))
    except RayActorError as error:  # the processes notice it, too, and end
        end.exception()
        raise WorkerLost("worker lost: the relay between a trial's processes died") from error


def _one_of_them(work: bytes, spec: TrialSpec, relay: Any, n_threads: int) -> Any:
    """What each process does; `work` comes pickled, as it does to `cluster.tune.worker`."""
    context = ray.train.get_context()
    group = Group(context.get_world_rank(), context.get_world_size())
    use_threads(n_threads)
    value = cloudpickle.loads(work)(replace(spec, group=group), _reporter(relay, group))
    return value if group.rank == 0 else None


def _reporter(relay: Any, group: Group) -> Report:
    decision = Decision.CONTINUE

    def report(step: int, metrics: Mapping[str, float]) -> Decision:
        nonlocal decision
        if decision is Decision.CONTINUE:
            asked = relay.decision.remote(step)
            if group.rank == 0:
                asked = relay.say.remote(step, dict(metrics))
            decision = ray.get(asked)
        return decision

    return report


def _cause(error: Exception) -> Exception:
    """Of all that went wrong in the processes, what the rest followed from."""
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
    if not failures:  # their node is about to go, or Ray Train itself failed
        lines = str(error).strip().splitlines()
        return WorkerLost(f"worker lost: {lines[-1] if lines else type(error).__name__}")
    raised = {rank: _unwrapped(failures[rank]) for rank in sorted(failures)}
    for rank, one in raised.items():
        if isinstance(one, RayActorError):
            return WorkerLost(f"worker lost: process {rank} of those that train together died")
    own = [one for one in raised.values() if not any(text in str(one) for text in CONSEQUENCES)]
    return own[0] if own else WorkerLost("worker lost: a process misses another one")


def _unwrapped(error: Exception) -> Exception:
    """What the work raised, out of what Ray puts around it."""
    for name in ("health_check_failure", "_base_exc", "cause"):
        inner = getattr(error, name, None)
        if isinstance(inner, Exception):
            return inner
    return error
