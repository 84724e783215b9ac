"""The contract between those who know what to try and those who know where to run it.

A `Trials` decides, a `Runner` drives it, the work function runs in a worker and knows one call:
`report`. Nothing here knows music, Optuna or Ray.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol


class ClusterError(Exception):
    """Something about the workers or the cluster that the person at the keyboard can mend.

    Its text says what, got, allowed, and what to type next.
    """


class WorkerLost(ClusterError):  # noqa: N818 - it is what happened to a trial
    """A process that a trial needs is gone; the trial may be tried again."""


class Decision(Enum):
    """What a trial should do after a report."""

    CONTINUE = "continue"
    STOP = "stop"


class End(Enum):
    """How a trial ended: by itself, because it was told to stop, or by a failure."""

    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


class Failure(Enum):
    """Why a trial failed, as far as it matters to whoever may try it again.

    After OUT_OF_MEMORY, LOST and STALLED its process is gone or is not used again.
    """

    RAISED = "raised"
    """its work function raised: trying again would only raise again"""
    OUT_OF_MEMORY = "out of memory"
    """of the machine or of a GPU"""
    LOST = "worker lost"
    """its process or its node is gone"""
    STALLED = "stalled"
    """it reported nothing for too long, so its process was ended"""


@dataclass(frozen=True)
class Resources:
    """What one trial takes: CPU cores, and GPUs or a fraction of one.

    They are shared evenly by `workers` processes that train together, each with one GPU at most.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    workers: int = 1

    @property
    def each(self) -> "Resources":
        """What one of the processes takes."""
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
class Group:
    """The processes that do the work of one trial together: this one is `rank`, from 0, of `size`.

    Where there are several, whoever started them has joined them into torch's process group. Each
    runs the same work function and reports the same steps; what the first one says is passed on,
    what was decided is told to all, and the value of the first one counts.
    """

    rank: int = 0
    size: int = 1


@dataclass(frozen=True)
class TrialSpec:
    """One trial to run: its number in the ledger and what the work function needs to know.

    `payload` is plain, picklable data; a worker gets it as it is. `resources` is what this trial
    takes where that is not what all take; as many workers and CPUs as all. `reads` are folders that
    never change, `writes` those that the work leaves files in; it asks `path` where they are on its
    node. `group` and `moved` are set by the runner.
    """

    trial_id: int
    payload: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources | None = None
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    group: Group = Group()
    moved: Mapping[str, str] = field(default_factory=dict)

    def path(self, path: str) -> str:
        """Where one of `reads` or `writes` is for this process."""
        return self.moved.get(path, path)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, what its work function returned, and why it failed where it did.

    `value` is None for a failed trial. `reason` is one line; `traceback` is the worker's own.
    `failure` is None unless the trial failed.
    """

    end: End
    value: Any = None
    reason: str = ""
    traceback: str = ""
    failure: Failure | None = None


class Report(Protocol):
    """The one call that training code knows."""

    def __call__(self, step: int, metrics: Mapping[str, float]) -> Decision:
        """Tells how far the trial is; on `Decision.STOP` the work function returns at once.

        Args:
            step: how many epochs are done, counted from 1.
            metrics: finite or not, by name.
        """
        ...


Work = Callable[[TrialSpec, Report], Any]
"""A trial's work: runs in a worker, reports after each step, returns a picklable value."""


class Trials(Protocol):
    """The mind and the memory: what to try next, what to stop, what became of it.

    A runner calls it from one thread of the driver.
    """

    def ask(self, n: int) -> list[TrialSpec]:
        """Up to `n` trials; an empty list means: none now.

        One that has failed may be given again, under its number, in the hope of another end.
        A worker may later train several trials of one shape at once, so this asks for `n`.
        """
        ...

    def done(self) -> bool:
        """Whether nothing will be given any more, however the running trials end."""
        ...

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        """What a running trial said, and whether it shall go on."""
        ...

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        """How a trial ended. Called exactly once for each time that it was given."""
        ...


class Runner(Protocol):
    """The muscle: runs what `trials` asks for until it is done and every trial is told."""

    def run(self, trials: Trials, work: Work) -> None:
        """Returns when `trials.done()` and no trial is running any more.

        A trial that raises is told as FAILED and the run goes on. `KeyboardInterrupt` ends the
        run at once; trials that were running are not told.

        Raises:
            ClusterError: the workers cannot be started or are gone for good.
        """
        ...
