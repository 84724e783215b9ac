"""Runs trials on the workers of a Ray cluster, with Ray Tune as the muscle.

Tune places and reuses worker processes and notices when they die; what to try, what to stop and
what is remembered is the business of `Trials`. Tune's own state is thrown away.
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
from chorale.cluster.connection.connect import n_slots, nodes
from chorale.cluster.local_workers.bridge import Bridge
from chorale.cluster.local_workers.report_socket import Ear
from chorale.cluster.transfer.folders import Carried, Shared
from chorale.cluster.tune.controller import BridgeScheduler, BridgeSearcher, Controller, request_of
from chorale.cluster.tune.distributed_trial import Together
from chorale.cluster.tune.worker import Worker

ROOM_CHECK_S = 10.0
"""How often the nodes are counted."""

ROOM_PATIENCE_S = 300.0
"""How long there may be no node for a trial, all of them lost, before the run is given up."""


class TuneRunner:
    """A `Runner` on the Ray cluster that this process is connected to by `cluster.connection`.

    Args:
        resources: what one trial takes. Its process uses as many threads as it has whole CPUs.
        max_concurrent: how many trials run at once at most; fewer where the nodes have less room.
            None: as many as there is room for, also on nodes that join later.
        storage: an existing folder; Tune's scratch files lie in it while the run lasts.
        elastic: the cluster starts nodes on demand: `max_concurrent` trials are asked for, and
            those that fit nowhere wait for a node.
        stall_s: a trial that reports nothing for so many seconds is ended; never if None.
        folder: what trials read and write lies in it; None where all nodes see it for sure.
        forks: the socket of `cluster.local_workers.fork_client`, where all workers are on this
            machine: they train in processes that are forked there. Without it they train
            themselves.
    """

    def __init__(
        self,
        resources: Resources,
        *,
        max_concurrent: int | None,
        storage: Path,
        elastic: bool = False,
        stall_s: float | None = None,
        folder: Shared | None = None,
        forks: Path | None = None,
    ) -> None:
        if max_concurrent is not None and max_concurrent < 1:
            raise ClusterError(f"max_concurrent must be 1 or more, but got {max_concurrent=}")
        if elastic and max_concurrent is None:
            raise ClusterError(
                "a cluster that starts nodes on demand has to be told how many trials to run at "
                "once; give a number: --cluster.trials_at_once 8"
            )
        self._resources = resources
        self._max_concurrent = max_concurrent
        self._storage = storage
        self._elastic = elastic
        self._stall_s = stall_s
        self._folder = folder
        self._forks = forks

    def run(self, trials: Trials, work: Work) -> None:
        """Runs what `trials` asks for until it is done and every trial is told.

        A trial that raises, stalls, or whose process dies, is told as FAILED and the run goes on.

        Raises:
            ClusterError: a trial fits on no node, or workers cannot be started.
            KeyboardInterrupt: at once; the workers are killed, running trials are not told.
            Exception: whatever `trials` itself raised; running trials are not told.
        """
        if trials.done():
            return
        bridge = Bridge(trials, n_at_once=self._n_at_once())
        if not bridge.n_at_once:
            raise self._no_room()
        with (
            _quiet(),
            tempfile.TemporaryDirectory(dir=self._storage, prefix=".tune-") as scratch,
            self._listening() as ear,
        ):
            controller = self._controller(bridge, work, scratch, ear)
            try:
                self._drive(controller, bridge)
            finally:
                controller.kill_workers()

    @contextmanager
    def _listening(self) -> Iterator[Ear | None]:
        """An ear for those who train in forked processes.

        Several processes for one trial are Ray's own, which only another of Ray's can start.
        """
        if self._forks is None or self._resources.workers > 1:
            yield None
            return
        ear = Ear(self._forks.with_name(uuid.uuid4().hex[:8]))
        try:
            yield ear
        finally:
            ear.close()

    def _controller(
        self, bridge: Bridge, work: Work, scratch: str, ear: Ear | None
    ) -> "Controller":
        if self._folder is not None:
            work = Carried(work, self._folder)
        if self._resources.workers > 1:
            work = Together(work, self._resources)
        n_threads = max(1, int(self._resources.each.cpus))
        told = {"work": cloudpickle.dumps(work), "n_threads": n_threads}
        experiment = Experiment(
            "trials",
            tune.with_parameters(Worker, **told),
            resources_per_trial=request_of(self._resources),
            num_samples=sys.maxsize,
            storage_path=str(Path(scratch).absolute()),
            trial_dirname_creator=lambda trial: trial.trial_id,
        )
        search = SearchGenerator(BridgeSearcher(bridge))
        controller = Controller(
            bridge,
            resources=self._resources,
            search_alg=search,
            scheduler=BridgeScheduler(bridge),
            ear=ear,
            relayed={**told, "forks": self._forks},
            storage=experiment.storage,
            reuse_actors=True,
        )
        search.add_configurations([experiment])
        controller.update_max_pending_trials(bridge.n_at_once)
        return controller

    def _drive(self, controller: "Controller", bridge: Bridge) -> None:
        counted = had_room = time.monotonic()
        sizes: set[Resources] = set()
        while not controller.is_finished():
            try:
                controller.step()
            except RuntimeError as error:
                if isinstance(error.__cause__, RayError):  # Tune's way to say: beyond repair
                    raise _gone(error.__cause__) from error
                raise
            if bridge.error is not None:
                raise bridge.error
            now, bridge.n_waiting = time.monotonic(), controller.n_waiting
            if bridge.sizes - sizes:  # there may be room for more than was thought
                sizes, counted = set(bridge.sizes), -math.inf
            if self._stall_s is not None:
                controller.end_stalled(self._stall_s)
            if now - counted > ROOM_CHECK_S:
                controller.forget_ended()
                counted, n_at_once = now, self._n_at_once(sizes)
                if n_at_once:
                    had_room, bridge.n_at_once = now, n_at_once
                    bridge.n_may_wait = max(1, self._n_at_once())
                    controller.update_max_pending_trials(n_at_once)
                elif now - had_room > ROOM_PATIENCE_S:
                    raise self._no_room()

    def _n_at_once(self, sizes: Collection[Resources] = ()) -> int:
        """How many trials may run at once on the nodes that are alive; 0 where none fits.

        Where some take other resources, at most: those that need more find no place at once.
        """
        wanted = self._max_concurrent
        if wanted is not None and self._elastic:
            return wanted
        n = max(n_slots(size) for size in (self._resources, *sizes))
        return n if wanted is None else min(wanted, n)

    def _no_room(self) -> ClusterError:
        sizes = [f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in nodes()]
        each, n = self._resources.each, self._resources.workers
        where = "on one node" if n == 1 else f"for each of its {n} workers"
        return ClusterError(
            f"a trial needs {each.cpus:g} CPUs and {each.gpus:g} GPUs {where}, "
            f"but the cluster has: {'; '.join(sizes) or 'no node that is alive'}; "
            f"let a trial take less (--cluster.cpus_per_trial 1 --cluster.gpus_per_trial 0), or "
            f"join a larger cluster (--cluster.address HOST:PORT)"
        )


def _gone(error: RayError) -> ClusterError:
    return ClusterError(
        f"the cluster lost what a trial had to say ({type(error).__name__}); "
        f"go on with what is left of the budget: chorale sweep --resume"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences Tune's log: what went wrong with a trial is in its outcome."""
    logger = logging.getLogger("ray.tune")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
