"""Local process runner: runs trials in forked, reused processes of this machine, without Ray.

Starting a private Ray takes a third of the CPU-seconds until the first trial runs, and on one
machine without GPUs there is nothing for it to schedule. `cluster.tune.runner` is the runner for a
Ray cluster.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from chorale.cluster import machine
from chorale.cluster.base import ClusterError, Resources, Trials, Work
from chorale.cluster.local_workers.dispatcher import Dispatcher
from chorale.cluster.local_workers.fork_client import Child
from chorale.cluster.local_workers.report_socket import ReportSocket
from chorale.cluster.pickling import pickle_value

BUSY_POLL_S = 0.5
"""How often processes are checked while trials run and nothing arrives."""

IDLE_POLL_S = 0.05
"""When to ask for trials again while none runs and none was available."""

WORKER_OOM_SCORE = "1000"
"""The highest value of oom_score_adj: the kernel kills workers before any other process."""


class WorkerStartError(RuntimeError):
    """A process could not be forked, or cannot unpickle the work function."""

    actor_init_failed = True  # the attribute that Ray's own error has


class ProcessRunner:
    """A `Runner` whose processes are forked by `cluster.local_workers.fork_client`.

    Args:
        resources: what one trial takes; its CPUs are also its threads. Processes see no GPU.
        n_at_once: the maximum number of concurrent trials.
        fork_socket: the fork server's socket.
        stall_s: a trial without a report for this many seconds is ended; never if None.
    """

    def __init__(
        self,
        resources: Resources,
        *,
        n_at_once: int,
        fork_socket: Path,
        stall_s: float | None = None,
    ) -> None:
        if n_at_once < 1:
            raise ClusterError(f"n_at_once must be 1 or more, but got {n_at_once=}")
        self._resources, self._n_at_once = resources, n_at_once
        self._fork_socket, self._stall_s = fork_socket, stall_s

    def run(self, trials: Trials, work: Work) -> None:
        """Runs trials until `trials` is done and has got every outcome.

        A trial that raises, stalls or loses its process gets the outcome FAILED; the run goes on.

        Raises:
            ClusterError: processes cannot be started.
            KeyboardInterrupt: at once; processes are killed, running trials get no outcome.
            Exception: whatever `trials` itself raised; running trials get no outcome.
        """
        if trials.done():
            return
        dispatcher = Dispatcher(trials, n_at_once=self._n_at_once)
        with self._process_pool(pickle_value(work)) as pool:
            while True:
                self._start_trials(dispatcher, pool)
                if dispatcher.error is not None:
                    raise dispatcher.error
                if not pool.busy and dispatcher.is_done():
                    return
                pool.listen(dispatcher, BUSY_POLL_S if pool.busy else IDLE_POLL_S)
                if self._stall_s is not None:
                    pool.kill_stalled(dispatcher, self._stall_s)

    @contextmanager
    def _process_pool(self, work: bytes) -> Iterator["_ProcessPool"]:
        reports = ReportSocket(self._fork_socket.with_name(uuid.uuid4().hex[:8]))
        options = {"n_threads": max(1, int(self._resources.cpus)), "driver": reports.path}
        pool = _ProcessPool(self._fork_socket, work, options, reports)
        try:
            yield pool
        finally:
            pool.close()
            reports.close()

    def _start_trials(self, dispatcher: Dispatcher, pool: "_ProcessPool") -> None:
        """Starts as many trials as there is room for."""
        while dispatcher.error is None and dispatcher.has_room() and not dispatcher.is_done():
            run_id = uuid.uuid4().hex
            trial = dispatcher.ask(run_id)
            if trial is None:
                return
            try:
                pool.start(run_id, trial)
            except WorkerStartError as error:
                dispatcher.lose(run_id, error)
            dispatcher.n_waiting = 0


class _ProcessPool:
    """The processes: `busy` maps the run id of a trial, or of a series, to its process."""

    def __init__(
        self, fork_socket: Path, work: bytes, options: dict[str, Any], reports: ReportSocket
    ) -> None:
        self._fork_socket, self._work = fork_socket, work
        self._options, self._reports = options, reports
        self.busy: dict[str, Child] = {}
        self._free: list[Child] = []
        self._n_oom_kills = machine.n_oom_kills()

    def start(self, run_id: str, trial: bytes) -> None:
        """Gives a trial to a free process, or to a new one.

        Raises:
            WorkerStartError: no process could be started.
        """
        while self._free:
            child = self._free.pop()
            try:
                child.train(trial)
            except OSError:  # it died while it was idle
                child.close()
            else:
                self.busy[run_id] = child
                return
        try:
            child = Child(
                self._fork_socket,
                self._work,
                oom_score=WORKER_OOM_SCORE,
                variables=machine.NO_GPU_VARIABLES,
                **self._options,
            )
            child.train(trial)
        except (RuntimeError, OSError) as error:
            raise WorkerStartError(str(error)) from error
        self.busy[run_id] = child

    def listen(self, dispatcher: Dispatcher, timeout_s: float) -> None:
        """Replies to messages for up to `timeout_s`; collects processes that are free or dead."""
        connections = {run_id: child.connection for run_id, child in self.busy.items()}
        self._reports.listen(dispatcher.reply, timeout_s, also_watch=list(connections.values()))
        for run_id, connection in connections.items():
            if connection.poll():
                self._end(run_id, connection, dispatcher)

    def kill_stalled(self, dispatcher: Dispatcher, stall_s: float) -> None:
        """Kills the processes of stalled trials; `listen` then finds them dead."""
        for run_id, child in self.busy.items():
            if dispatcher.newly_stalled(run_id, stall_s):
                child.kill()

    def close(self) -> None:
        """Kills all processes."""
        for child in [*self.busy.values(), *self._free]:
            child.close()

    def _end(self, run_id: str, connection: "Connection[Any, Any]", dispatcher: Dispatcher) -> None:
        child = self.busy.pop(run_id)
        try:
            discard_process = bool(connection.recv())
        except (EOFError, OSError):
            child.close()
            dispatcher.lose(run_id, self._death_cause())
            return
        if discard_process:
            child.close()
        else:
            self._free.append(child)

    def _death_cause(self) -> Exception:
        before, self._n_oom_kills = self._n_oom_kills, machine.n_oom_kills()
        if self._n_oom_kills > before:
            return MemoryError("the system killed its process")
        return RuntimeError("its process died")
