"""Protocols for running trials: `Trials` decides, a `Runner` executes, a work function trains.

The work function runs in a worker and makes one call: `report`. This module knows nothing of audio,
Optuna or Ray.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol


class ClusterError(Exception):
    """An error of the workers or the cluster that the user can fix.

    Its text says what, got, allowed, and what to type next.
    """


class WorkerLost(ClusterError):  # noqa: N818 - it names what happened to a trial
    """A process that a trial needs was lost; the trial may be retried."""


class Preempted(ClusterError):  # noqa: N818 - it names what happened to a trial
    """The process was asked to end, and the trial saved its state; another one goes on from it."""


class Decision(Enum):
    """What a trial should do after a report."""

    CONTINUE = "continue"
    STOP = "stop"


class End(Enum):
    """How a trial ended: it completed, it was stopped early, or it failed."""

    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


class Failure(Enum):
    """Why a trial failed, as far as a retry depends on it.

    After all but RAISED its process has ended or is not reused.
    """

    RAISED = "raised"
    """its work function raised: a retry would raise again"""
    OUT_OF_MEMORY = "out of memory"
    """of the machine or of a GPU"""
    LOST = "worker lost"
    """its process or its node died"""
    PREEMPTED = "preempted"
    """its process was asked to end (SIGTERM), as on a spot machine; its state is saved"""
    STALLED = "stalled"
    """it reported nothing for too long, so its process was killed"""


@dataclass(frozen=True)
class Resources:
    """The resources of one trial: CPU cores, and GPUs or a fraction of one.

    They are shared evenly by `workers` processes of a distributed trial, each with at most one GPU.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    workers: int = 1

    @property
    def per_worker(self) -> "Resources":
        """The resources of one of the processes."""
        return Resources(self.cpus / self.workers, self.gpus / self.workers)

    def __post_init__(self) -> None:
        if self.workers < 1 or (self.workers > 1 and self.gpus > self.workers):
            raise ClusterError(
                f"a trial needs 1 worker or more, one for each GPU, but got "
                f"workers={self.workers}, gpus={self.gpus}"
            )
        if self.cpus <= 0 or self.gpus < 0:
            raise ClusterError(
                f"a trial needs cpus > 0 and gpus >= 0, but got cpus={self.cpus}, gpus={self.gpus}"
            )


@dataclass(frozen=True)
class ProcessGroup:
    """Rank and size of the process group of a distributed trial; ranks count from 0.

    If there are several processes, they are members of torch's process group before the work
    function starts. Each runs the same work function and reports the same steps. Rank 0's reports
    are passed on, all ranks get the decision, and the trial's value is that of rank 0.
    """

    rank: int = 0
    size: int = 1


@dataclass(frozen=True)
class TrialSpec:
    """One trial to run: its number in the ledger and the work function's input.

    `payload` is plain, picklable data, passed to the worker unchanged. `resources` overrides the
    runner's resources for this trial; workers and CPUs must be the same. `input_folders` never
    change; `output_folders` are those that the work function writes to. It calls `local_path` for
    their paths on its node. The runner sets `process_group` and `local_paths`.
    """

    trial_id: int
    payload: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources | None = None
    input_folders: tuple[str, ...] = ()
    output_folders: tuple[str, ...] = ()
    process_group: ProcessGroup = ProcessGroup()
    local_paths: Mapping[str, str] = field(default_factory=dict)

    def local_path(self, path: str) -> str:
        """The path of an input or output folder on this process's node."""
        return self.local_paths.get(path, path)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, what its work function returned, and why it failed if it did.

    `value` is None for a failed trial. `reason` is one line; `traceback` is the worker's own.
    `failure` is None unless the trial failed.
    """

    end: End
    value: Any = None
    reason: str = ""
    traceback: str = ""
    failure: Failure | None = None


class Report(Protocol):
    """The only call that training code makes."""

    def __call__(self, step: int, metrics: Mapping[str, float]) -> Decision:
        """Reports metrics after an epoch; on `Decision.STOP` the work function returns at once.

        Args:
            step: the number of completed epochs, from 1.
            metrics: values by name; they may be infinite or NaN.
        """
        ...


Work = Callable[[TrialSpec, Report], Any]
"""A trial's work: runs in a worker, reports after each step, returns a picklable value."""


class Trials(Protocol):
    """The ask-and-tell interface of a study: which trial to run next, when to stop it, its outcome.

    A runner calls it from one thread of the driver.
    """

    def ask(self, n: int) -> list[TrialSpec]:
        """Up to `n` trials; an empty list means that none is available now.

        A failed trial may be returned again, with the same number, as a retry. A worker may later
        train several trials of one shape at once, so this asks for `n`.
        """
        ...

    def done(self) -> bool:
        """Whether `ask` will return no more trials, however the running ones end."""
        ...

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        """Records a running trial's report; returns whether the trial goes on."""
        ...

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        """Records how a trial ended. Called exactly once each time that `ask` returned it."""
        ...


class Runner(Protocol):
    """Runs trials until `trials` is done and has got every outcome."""

    def run(self, trials: Trials, work: Work) -> None:
        """Returns when `trials.done()` and no trial is running.

        A trial that raises gets the outcome FAILED and the run goes on. `KeyboardInterrupt` ends
        the run at once; running trials get no outcome.

        Raises:
            ClusterError: the workers cannot be started, or were lost for good.
        """
        ...
