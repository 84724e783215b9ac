"""Ray Tune runner: runs trials on the workers of a Ray cluster.

Tune places and reuses worker processes and notices when they die. What to try, when to stop and
what to keep is decided by `Trials`; Tune's own experiment state is discarded.
"""

import logging
import math
import sys
import tempfile
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ray import cloudpickle, tune
from ray.exceptions import RayError
from ray.tune.experiment import Experiment
from ray.tune.search import SearchGenerator

from chorale.cluster.base import ClusterError, Resources, Trials, Work
from chorale.cluster.connection.nodes import death_reasons, n_slots, node_resources
from chorale.cluster.local_workers.dispatcher import Dispatcher
from chorale.cluster.local_workers.report_socket import ReportSocket
from chorale.cluster.transfer.folders import SharedFolder, TransferredWork
from chorale.cluster.tune.controller import (
    Controller,
    DispatcherScheduler,
    DispatcherSearcher,
    placement_group_factory,
)
from chorale.cluster.tune.distributed_trial import DistributedWork
from chorale.cluster.tune.worker import Worker

ROOM_CHECK_S = 10.0
"""How often the nodes are counted."""

ROOM_PATIENCE_S = 300.0
"""How long the cluster may have no node with room for a trial before the run fails."""


class TuneRunner:
    """A `Runner` on the Ray cluster that this process is connected to by `cluster.connection`.

    Args:
        resources: what one trial takes. Its process uses one thread per full CPU.
        max_concurrent: the maximum number of concurrent trials; fewer if the nodes have less room.
            None: as many as there is room for, also on nodes that join later.
        storage: an existing folder for Tune's scratch files during the run.
        elastic: the cluster starts nodes on demand: `max_concurrent` trials are requested, and
            those that fit nowhere wait for a node.
        stall_s: a trial without a report for this many seconds is ended; never if None.
        folder: the folder that trials read and write in, served to nodes that do not see it; None
            if all nodes see it.
        fork_socket: the fork server's socket (`cluster.local_workers.fork_client`), if all workers
            are on this machine: they train in children forked from it. Without it they train in
            Ray's worker processes.
    """

    def __init__(
        self,
        resources: Resources,
        *,
        max_concurrent: int | None,
        storage: Path,
        elastic: bool = False,
        stall_s: float | None = None,
        folder: SharedFolder | None = None,
        fork_socket: Path | None = None,
    ) -> None:
        if max_concurrent is not None and max_concurrent < 1:
            raise ClusterError(f"max_concurrent must be 1 or more, but got {max_concurrent=}")
        if elastic and max_concurrent is None:
            raise ClusterError(
                "a cluster that starts nodes on demand needs the number of concurrent trials; "
                "give it with: --cluster.trials_at_once 8"
            )
        self._resources = resources
        self._max_concurrent = max_concurrent
        self._storage = storage
        self._elastic = elastic
        self._stall_s = stall_s
        self._folder = folder
        self._fork_socket = fork_socket

    def run(self, trials: Trials, work: Work) -> None:
        """Runs trials until `trials` is done and has got every outcome.

        A trial that raises, stalls or loses its process gets the outcome FAILED; the run goes on.

        Raises:
            ClusterError: a trial fits on no node, or workers cannot be started.
            KeyboardInterrupt: at once; workers are killed, running trials get no outcome.
            Exception: whatever `trials` itself raised; running trials get no outcome.
        """
        if trials.done():
            return
        dispatcher = Dispatcher(trials, n_at_once=self._n_at_once())
        if not dispatcher.n_at_once:
            raise self._no_room()
        with (
            _quiet(),
            tempfile.TemporaryDirectory(dir=self._storage, prefix=".tune-") as scratch,
            self._report_socket() as reports,
        ):
            controller = self._controller(dispatcher, work, scratch, reports)
            try:
                self._drive(controller, dispatcher)
            finally:
                controller.kill_workers()

    @contextmanager
    def _report_socket(self) -> Iterator[ReportSocket | None]:
        """A report socket if trials train in forked processes.

        The processes of a distributed trial are Ray's own, which only a Ray worker can start.
        """
        if self._fork_socket is None or self._resources.workers > 1:
            yield None
            return
        reports = ReportSocket(self._fork_socket.with_name(uuid.uuid4().hex[:8]))
        try:
            yield reports
        finally:
            reports.close()

    def _controller(
        self, dispatcher: Dispatcher, work: Work, scratch: str, reports: ReportSocket | None
    ) -> "Controller":
        if self._folder is not None:
            work = TransferredWork(work, self._folder)
        if self._resources.workers > 1:
            work = DistributedWork(work, self._resources)
        n_threads = max(1, int(self._resources.per_worker.cpus))
        worker_kwargs = {"work": cloudpickle.dumps(work), "n_threads": n_threads}
        experiment = Experiment(
            "trials",
            tune.with_parameters(Worker, **worker_kwargs),
            resources_per_trial=placement_group_factory(self._resources),
            num_samples=sys.maxsize,
            storage_path=str(Path(scratch).absolute()),
            trial_dirname_creator=lambda trial: trial.trial_id,
        )
        search = SearchGenerator(DispatcherSearcher(dispatcher))
        controller = Controller(
            dispatcher,
            resources=self._resources,
            search_alg=search,
            scheduler=DispatcherScheduler(dispatcher),
            reports=reports,
            proxy_kwargs={**worker_kwargs, "fork_socket": self._fork_socket},
            storage=experiment.storage,
            reuse_actors=True,
        )
        search.add_configurations([experiment])
        controller.update_max_pending_trials(dispatcher.n_at_once)
        return controller

    def _drive(self, controller: "Controller", dispatcher: Dispatcher) -> None:
        counted = had_room = time.monotonic()
        sizes: set[Resources] = set()
        while not controller.is_finished():
            try:
                controller.step()
            except RuntimeError as error:
                if isinstance(error.__cause__, RayError):  # Tune cannot recover
                    raise _gone(error.__cause__) from error
                raise
            if dispatcher.error is not None:
                raise dispatcher.error
            now, dispatcher.n_waiting = time.monotonic(), controller.n_waiting
            if dispatcher.resource_overrides - sizes:  # smaller trials may leave room for more
                sizes, counted = set(dispatcher.resource_overrides), -math.inf
            if self._stall_s is not None:
                controller.kill_stalled(self._stall_s)
            if now - counted > ROOM_CHECK_S:
                controller.forget_ended()
                counted, n_at_once = now, self._n_at_once(sizes)
                if n_at_once:
                    had_room, dispatcher.n_at_once = now, n_at_once
                    dispatcher.max_waiting = max(1, self._n_at_once())
                    controller.update_max_pending_trials(n_at_once)
                elif now - had_room > ROOM_PATIENCE_S:
                    raise self._no_room()

    def _n_at_once(self, sizes: Collection[Resources] = ()) -> int:
        """How many trials may run at once on the alive nodes; 0 if none fits.

        An upper bound if trials have different resources: larger ones wait for a worker.
        """
        wanted = self._max_concurrent
        if wanted is not None and self._elastic:
            return wanted
        n = max(n_slots(size) for size in (self._resources, *sizes))
        return n if wanted is None else min(wanted, n)

    def _no_room(self) -> ClusterError:
        sizes = [f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in node_resources()]
        if not sizes:
            reasons = death_reasons() or "Ray gives no reason"
            return ClusterError(
                f"every node of the Ray cluster ended ({reasons}); "
                f"use the rest of the budget with: chorale sweep --resume"
            )
        per_worker, n = self._resources.per_worker, self._resources.workers
        where = "on one node" if n == 1 else f"for each of its {n} workers"
        return ClusterError(
            f"a trial needs {per_worker.cpus:g} CPUs and {per_worker.gpus:g} GPUs {where}, "
            f"but the cluster has: {'; '.join(sizes)}; "
            f"let a trial take less (--cluster.cpus_per_trial 1 --cluster.gpus_per_trial 0), or "
            f"join a larger cluster (--cluster.address HOST:PORT)"
        )


def _gone(error: RayError) -> ClusterError:
    return ClusterError(
        f"the cluster lost a trial's result ({type(error).__name__}); "
        f"use the rest of the budget with: chorale sweep --resume"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences Tune's log: a trial's error is in its outcome."""
    logger = logging.getLogger("ray.tune")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
