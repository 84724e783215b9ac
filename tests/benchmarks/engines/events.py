"""Timing events: the workers of any engine append them to one file; `figures` summarises them.

`begin`, `epoch` and `end` of each trial are lines of JSON, each written by one append; all
processes of a machine share the monotonic clock.
"""

import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Events:
    """The file of events; any process of an arm may append to it."""

    path: str

    def record(self, trial: object, kind: str, **more: Any) -> None:
        event = {"trial": str(trial), "kind": kind, "at_s": time.monotonic(), "pid": os.getpid()}
        event |= more
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, (json.dumps(event) + "\n").encode())
        finally:
            os.close(handle)

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(self.path).read_text().splitlines()]


@dataclass(frozen=True)
class Run:
    """One training run: its first and last event, and its seconds inside steps."""

    pid: int
    begin_s: float
    end_s: float
    steps_s: float
    epochs: int


@dataclass(frozen=True)
class Figures:
    """Figures of one arm; `overhead_s` of each warm trial, `cold_s` of each slot's first."""

    trials: int
    epochs: int
    start_s: float
    search_s: float
    steps_s: float
    overhead_s: Sequence[float]
    cold_s: Sequence[float]
    best: float
    to_target_s: float | None
    memory_mb: float
    cpu_s: float

    @property
    def per_hour(self) -> float:
        return 3600 * self.trials / self.search_s

    @property
    def per_hour_with_start(self) -> float:
        return 3600 * self.trials / (self.search_s + self.start_s)


def figures(
    events: Events, *, spawned_s: float, target: float, memory_mb: float, cpu_s: float, trials: int
) -> Figures:
    """Summarises an arm.

    A trial's overhead is the time from the end of the previous trial on the same slot to its own
    end, without the time inside its training and validation steps.

    Raises:
        RuntimeError: not all trials were run.
    """
    recorded = events.read()
    marks = {event["kind"]: event["at_s"] for event in recorded if event["trial"] == "search"}
    runs = _runs([event for event in recorded if event["trial"] != "search"])
    if len(runs) != trials:
        raise RuntimeError(f"{trials} trials were asked for, but {len(runs)} were run")
    warm, cold = _overheads(runs, begin_s=marks["begin"])
    epochs = [e for e in recorded if e["kind"] == "epoch"]
    hits = [e["at_s"] for e in epochs if e["accuracy"] >= target]
    return Figures(
        trials=len(runs),
        epochs=sum(run.epochs for run in runs),
        start_s=marks["begin"] - spawned_s,
        search_s=marks["end"] - marks["begin"],
        steps_s=sum(run.steps_s for run in runs),
        overhead_s=warm,
        cold_s=cold,
        best=max(event["accuracy"] for event in epochs),
        to_target_s=min(hits) - marks["begin"] if hits else None,
        memory_mb=memory_mb,
        cpu_s=cpu_s,
    )


def _overheads(runs: Sequence[Run], *, begin_s: float) -> tuple[list[float], list[float]]:
    """Overhead in seconds of the warm trials, and of the first trial of each slot.

    A trial follows the previous one in its process. The first trial of a process follows the last
    trial of a process that runs no others, if any: so it is where each trial has its own process.
    """
    last_of = {run.pid: run for run in sorted(runs, key=lambda run: run.begin_s)}
    free: list[Run] = []  # the latest trial of each slot
    warm: list[float] = []
    cold: list[float] = []
    for run in sorted(runs, key=lambda run: run.begin_s):
        ended = [other for other in free if other.end_s <= run.begin_s]
        mine = [other for other in ended if other.pid == run.pid]
        left = [other for other in ended if last_of[other.pid] is other]
        before = max(mine or left, key=lambda other: other.end_s, default=None)
        since_s = begin_s if before is None else before.end_s
        (cold if before is None else warm).append(run.end_s - since_s - run.steps_s)
        if before is not None:
            free.remove(before)
        free.append(run)
    return warm, cold


def _runs(events: Sequence[dict[str, Any]]) -> list[Run]:
    by_trial: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_trial.setdefault(event["trial"], []).append(event)
    return [
        Run(
            pid=mine[0]["pid"],
            begin_s=min(event["at_s"] for event in mine),
            end_s=max(event["at_s"] for event in mine),
            steps_s=max(event.get("steps_s", 0.0) for event in mine),
            epochs=sum(event["kind"] == "epoch" for event in mine),
        )
        for mine in by_trial.values()
    ]


def mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else float("nan")


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")
