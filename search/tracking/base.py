"""The protocol of an experiment tracker, and what a run is to it.

`search.tracking.content` makes runs of a study's ledger, `search.tracking.sync` compares them with
those that a tracker has. A tracker (`search/tracking/trackers`) knows neither ledger nor study.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Protocol

from chorale.datasets.errors import UserError

FORMAT = 1
"""Raised where the content of runs changes, so that runs of an older Chorale are completed."""


class TrackerError(UserError):
    """The tracker cannot be used now: it is away, refuses, or is of another version. One line."""


class RunState(Enum):
    """The state of a run."""

    RUNNING = "running"
    COMPLETE = "complete"
    STOPPED = "stopped"
    """ended before its end: a pruned trial, an interrupted study"""
    FAILED = "failed"


@dataclass(frozen=True)
class Point:
    """One value of a metric, at a step (an epoch, from 1 on; 0 where there are none)."""

    metric: str
    step: int
    value: float


@dataclass(frozen=True)
class Artifact:
    """One file, or all files below a folder; `version` changes with their content."""

    path: Path
    version: str


@dataclass(frozen=True)
class RunContent:
    """What a run should hold. `key` identifies it within its study, and never changes.

    Times are in Unix milliseconds. The points of a metric are in the order of their steps. `commit`
    is the git commit of the code, empty if unknown.
    """

    key: str
    name: str
    state: RunState
    started_ms: int
    duration_ms: int | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    points: Sequence[Point] = ()
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    commit: str = ""
    note: str = ""

    @cached_property
    def version(self) -> str:
        """A hash of everything but the start time, which a tracker keeps from the creation on."""
        values = [
            FORMAT,
            [self.key, self.name, self.state.value, self.duration_ms, self.commit, self.note],
            sorted(self.params.items()),
            sorted(self.tags.items()),
            [[one.metric, one.step, one.value] for one in self.points],
            sorted((name, one.version) for name, one in self.artifacts.items()),
        ]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class TrackedRun:
    """A run that a tracker has.

    `version` is that of the content that was written completely; empty where writing has not ended.
    `parent` is the id of the run that it belongs to, empty for a study's. `is_new` says that this
    process has just created it, so that it is known to be empty.
    """

    id: str
    key: str
    version: str
    parent: str = ""
    is_new: bool = False


class Tracker(Protocol):
    """One tracker. Every method raises `TrackerError` where it cannot be used."""

    @property
    def place(self) -> str:
        """Where the runs go, for people: "MLflow at http://HOST:5000, experiment 'chorale'"."""

    def runs(self, study: str) -> list[TrackedRun]:
        """All runs of a study by its id, also several of one key, as after a lost reply."""

    def create(self, study: str, content: RunContent, parent: str) -> TrackedRun:
        """Creates an empty run that already carries study, key and parent: they are atomic."""

    def write(self, run: TrackedRun, content: RunContent, parent: str) -> list[str]:
        """Writes what the run lacks of its content; its state last, and then its version counts.

        It may be called again after any failure. Gives a line for whatever could not be written.
        """

    def remove(self, run: TrackedRun) -> None:
        """Removes a run that is there twice."""

    def register(self, model: str, study: str, bundle: Artifact, aliases: Sequence[str]) -> str:
        """Makes a bundle a version of a model, once, and points aliases at it; gives its number.

        The bundle is stored with the run of the study, by its id, which must be there.
        """

    def close(self) -> None:
        """Closes connections."""
