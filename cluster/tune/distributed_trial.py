"""Distributed training of one trial with Ray Train: several processes, with one GPU each or none.

`cluster.tune.runner` runs such a trial like any other. Its work function is a `DistributedWork`,
which starts the processes, gives each its `ProcessGroup`, and passes reports and decisions on.

The trial's own process takes no CPU or GPU, and Ray schedules the workers all at once or not at all
(gang scheduling), so that no two trials wait for one another with half of their workers each.
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

from chorale.cluster.base import (
    Decision,
    ProcessGroup,
    Report,
    Resources,
    TrialSpec,
    Work,
    WorkerLost,
)
from chorale.cluster.environment import set_variables
from chorale.cluster.local_workers.attempt import use_threads

RAY_TRAIN_VARIABLES = {
    # how often, in seconds, it checks whether the processes are alive and whether they are done
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # a preempted node is noticed when its processes have ended, like any other lost node
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # a waiting trial keeps its place in the queue; by default it would start again each minute
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "86400",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
"""Environment variables of Ray Train."""

COLLECTIVE_TIMEOUT_S = 1800
"""How long a process waits for the others before it gives up."""

COORDINATOR_RESOURCES: Mapping[str, float] = {"memory": 1}
"""What the trial's own process reserves, which only waits: one byte, as zero is not allowed."""

SECONDARY_ERROR_TEXTS = (
    "Connection closed by peer",
    "Connection reset by peer",
    "gloo/",
    "NCCL",
    "ncclS",
)
"""In the text of errors that a process raises because another process was lost."""


@dataclass(frozen=True)
class DistributedWork:
    """`Work` that runs `work` in `resources.workers` processes.

    The value is that of rank 0. If a process is lost, so is the trial: the others cannot go on
    without it.
    """

    work: Work
    resources: Resources

    def __call__(self, spec: TrialSpec, report: Report) -> Any:
        """Starts the processes, and returns when all of them are done.

        Raises:
            WorkerLost: a process or its node was lost.
            Exception: what `work` raised in one of the processes.
        """
        channel = ray.remote(num_cpus=0)(ReportChannel).remote()
        with ThreadPoolExecutor(1) as pool:
            result = pool.submit(self._fit, spec, channel)
            result.add_done_callback(lambda _: channel.close.remote())
            _forward_reports(channel, report, result)
            return result.result()

    def _fit(self, spec: TrialSpec, channel: Any) -> Any:
        from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchConfig, TorchTrainer

        per_worker, work = self.resources.per_worker, cloudpickle.dumps(self.work)
        scaling = ScalingConfig(
            num_workers=self.resources.workers,
            use_gpu=per_worker.gpus > 0,
            resources_per_worker={"CPU": per_worker.cpus, "GPU": per_worker.gpus},
        )

        def run() -> Any:
            return _run_in_worker(work, spec, channel, max(1, int(per_worker.cpus)))

        with (
            tempfile.TemporaryDirectory(prefix="chorale-") as scratch,
            set_variables(RAY_TRAIN_VARIABLES),
        ):
            trainer = TorchTrainer(
                run,
                torch_config=TorchConfig(timeout_s=COLLECTIVE_TIMEOUT_S),
                scaling_config=scaling,
                run_config=RunConfig(
                    name="trial",
                    storage_path=scratch,
                    # `Trials` decides whether the trial is retried
                    failure_config=FailureConfig(max_failures=0, max_preemption_failures=0),
                ),
            )
            try:
                return trainer.fit().return_value
            except TrainingFailedError as error:
                raise _cause(error) from error


class ReportChannel:
    """An actor between the worker processes of a trial and the process that waits for them.

    Rank 0 reports; all ranks get the decision.
    """

    def __init__(self) -> None:
        self._reports: asyncio.Queue[tuple[int, Mapping[str, float]] | None] = asyncio.Queue()
        self._decisions: dict[int, asyncio.Future[Decision]] = {}

    async def report(self, step: int, metrics: Mapping[str, float]) -> Decision:
        """Queues a report of rank 0; returns the decision."""
        self._reports.put_nowait((step, metrics))
        return await self.decision(step)

    async def decision(self, step: int) -> Decision:
        """The decision at a step, as soon as it is made."""
        return await self._future(step)

    async def next_report(self) -> tuple[int, Mapping[str, float]] | None:
        """The next report; None after the last one."""
        return await self._reports.get()

    async def decide(self, step: int, decision: Decision) -> None:
        """Sets the decision on a report."""
        self._future(step).set_result(decision)

    async def close(self) -> None:
        """Marks the end of the reports."""
        self._reports.put_nowait(None)

    def _future(self, step: int) -> "asyncio.Future[Decision]":
        return self._decisions.setdefault(step, asyncio.get_running_loop().create_future())


def _forward_reports(channel: Any, report: Report, result: "Future[Any]") -> None:
    """Passes the reports of rank 0 on until the processes are done."""
    try:
        while (message := ray.get(channel.next_report.remote())) is not None:
            channel.decide.remote(message[0], report(*message))
    except RayActorError as error:  # the processes notice it, too, and end
        result.exception()
        raise WorkerLost("worker lost: the report channel of a trial's processes died") from error


def _run_in_worker(work: bytes, spec: TrialSpec, channel: Any, n_threads: int) -> Any:
    """Runs the trial in one process of the group; `work` is pickled as in `cluster.tune.worker`."""
    context = ray.train.get_context()
    group = ProcessGroup(context.get_world_rank(), context.get_world_size())
    use_threads(n_threads)
    value = cloudpickle.loads(work)(replace(spec, process_group=group), _reporter(channel, group))
    return value if group.rank == 0 else None


def _reporter(channel: Any, group: ProcessGroup) -> Report:
    decision = Decision.CONTINUE

    def report(step: int, metrics: Mapping[str, float]) -> Decision:
        nonlocal decision
        if decision is Decision.CONTINUE:
            reference = channel.decision.remote(step)
            if group.rank == 0:
                reference = channel.report.remote(step, dict(metrics))
            decision = ray.get(reference)
        return decision

    return report


def _cause(error: Exception) -> Exception:
    """The first cause among the errors of all processes."""
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
    if not failures:  # their node is being preempted, or Ray Train itself failed
        lines = str(error).strip().splitlines()
        return WorkerLost(f"worker lost: {lines[-1] if lines else type(error).__name__}")
    raised = {rank: _unwrapped(failures[rank]) for rank in sorted(failures)}
    for rank, one in raised.items():
        if isinstance(one, RayActorError):
            return WorkerLost(f"worker lost: process {rank} of the distributed trial died")
    first = [
        one
        for one in raised.values()
        if not any(text in str(one) for text in SECONDARY_ERROR_TEXTS)
    ]
    return first[0] if first else WorkerLost("worker lost: a process lost contact with another one")


def _unwrapped(error: Exception) -> Exception:
    """The work function's own error, without Ray's wrappers."""
    for name in ("health_check_failure", "_base_exc", "cause"):
        inner = getattr(error, name, None)
        if isinstance(inner, Exception):
            return inner
    return error
