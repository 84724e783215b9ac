"""Runs trials in processes of this machine, without Ray: each forked, used again, and watched.

A private Ray takes a third of the CPU-seconds until the first trial runs, and on one machine
without GPUs there is nothing that it would have to share out. `cluster.tune.runner` does the same
on a cluster.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from chorale.cluster import machine
from chorale.cluster.base import ClusterError, Resources, Trials, Work
from chorale.cluster.local_workers.bridge import Bridge
from chorale.cluster.local_workers.fork_client import Child
from chorale.cluster.local_workers.report_socket import Ear
from chorale.cluster.pickling import pickled

PAUSE_S = 0.5
"""How often processes are looked after while none has anything to say."""

HESITATION_S = 0.05
"""When to ask again, where nothing runs and nothing is to be tried now."""

FIRST_TO_GO = "1000"
"""How readily the kernel ends a process that trains when memory is short: before any other."""


class CouldNotStartError(RuntimeError):
    """A process could not be had, or does not know its work."""

    actor_init_failed = True  # as Ray says it of its own


class ProcessRunner:
    """A `Runner` that forks its processes from that of `cluster.local_workers.fork_client`.

    Args:
        resources: what one trial takes: cores, which are its threads, too. It finds no GPU.
        n_at_once: how many trials run at once at most.
        forks: the socket where processes are forked.
        stall_s: a trial that reports nothing for so many seconds is ended; never if None.
    """

    def __init__(
        self, resources: Resources, *, n_at_once: int, forks: Path, stall_s: float | None = None
    ) -> None:
        if n_at_once < 1:
            raise ClusterError(f"n_at_once must be 1 or more, but got {n_at_once=}")
        self._resources, self._n_at_once = resources, n_at_once
        self._forks, self._stall_s = forks, stall_s

    def run(self, trials: Trials, work: Work) -> None:
        """Runs what `trials` asks for until it is done and every trial is told.

        A trial that raises, stalls, or whose process dies, is told as FAILED and the run goes on.

        Raises:
            ClusterError: processes cannot be started.
            KeyboardInterrupt: at once; the processes are killed, running trials are not told.
            Exception: whatever `trials` itself raised; running trials are not told.
        """
        if trials.done():
            return
        bridge = Bridge(trials, n_at_once=self._n_at_once)
        with self._crew(pickled(work)) as crew:
            while True:
                self._begin(bridge, crew)
                if bridge.error is not None:
                    raise bridge.error
                if not crew.busy and bridge.is_done():
                    return
                crew.listen(bridge, PAUSE_S if crew.busy else HESITATION_S)
                if self._stall_s is not None:
                    crew.end_stalled(bridge, self._stall_s)

    @contextmanager
    def _crew(self, work: bytes) -> Iterator["_Crew"]:
        ear = Ear(self._forks.with_name(uuid.uuid4().hex[:8]))
        told = {"n_threads": max(1, int(self._resources.cpus)), "driver": ear.path}
        crew = _Crew(self._forks, work, told, ear)
        try:
            yield crew
        finally:
            crew.close()
            ear.close()

    def _begin(self, bridge: Bridge, crew: "_Crew") -> None:
        """Begins as many trials as there is room for."""
        while bridge.error is None and bridge.has_place() and not bridge.is_done():
            name = uuid.uuid4().hex
            trial = bridge.ask(name)
            if trial is None:
                return
            try:
                crew.begin(name, trial)
            except CouldNotStartError as error:
                bridge.lose(name, error)
            bridge.n_waiting = 0


class _Crew:
    """The processes: `busy` maps the name of a trial, or of a series of them, to who trains it."""

    def __init__(self, forks: Path, work: bytes, told: dict[str, Any], ear: Ear) -> None:
        self._forks, self._work, self._told, self._ear = forks, work, told, ear
        self.busy: dict[str, Child] = {}
        self._free: list[Child] = []
        self._n_killed = machine.n_killed()

    def begin(self, name: str, trial: bytes) -> None:
        """Gives a trial to a process that is free, or to a new one.

        Raises:
            CouldNotStartError: there is none.
        """
        while self._free:
            child = self._free.pop()
            try:
                child.train(trial)
            except OSError:  # it died while it had nothing to do
                child.close()
            else:
                self.busy[name] = child
                return
        try:
            child = Child(
                self._forks,
                self._work,
                oom_score=FIRST_TO_GO,
                variables=machine.HIDDEN,
                **self._told,
            )
            child.train(trial)
        except (RuntimeError, OSError) as error:
            raise CouldNotStartError(str(error)) from error
        self.busy[name] = child

    def listen(self, bridge: Bridge, timeout_s: float) -> None:
        """Answers what is said for so long at most, and sees who has come free and who is gone."""
        wires = {name: child.wire for name, child in self.busy.items()}
        self._ear.listen(bridge.answer, timeout_s, beside=list(wires.values()))
        for name, wire in wires.items():
            if wire.poll():
                self._end(name, wire, bridge)

    def end_stalled(self, bridge: Bridge, stall_s: float) -> None:
        """Kills those that were silent for so long; they are told as lost by and by."""
        for name, child in self.busy.items():
            if bridge.stalls(name, stall_s):
                child.kill()

    def close(self) -> None:
        """Kills all."""
        for child in [*self.busy.values(), *self._free]:
            child.close()

    def _end(self, name: str, wire: "Connection[Any, Any]", bridge: Bridge) -> None:
        child = self.busy.pop(name)
        try:
            spoilt = bool(wire.recv())
        except (EOFError, OSError):
            child.close()
            bridge.lose(name, self._why_gone())
            return
        if spoilt:
            child.close()
        else:
            self._free.append(child)

    def _why_gone(self) -> Exception:
        before, self._n_killed = self._n_killed, machine.n_killed()
        if self._n_killed > before:
            return MemoryError("the system ended its process")
        return RuntimeError("its process died")
