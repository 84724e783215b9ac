"""Tune's searcher, scheduler and event loop, each turned to `cluster.local_workers.bridge`.

`cluster.tune.runner` drives them. What Tune's own ones do beyond that, snapshots, logs and copies,
is left out.
"""

from collections.abc import Mapping
from typing import Any

import ray
from ray import tune
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from chorale.cluster.base import Decision, Resources
from chorale.cluster.local_workers.bridge import Bridge
from chorale.cluster.local_workers.report_socket import Ear
from chorale.cluster.messages import MESSAGE, TRIAL, Ended, Sealed
from chorale.cluster.tune.distributed_trial import DRIVER
from chorale.cluster.tune.proxy_actors import Relays


class BridgeSearcher(Searcher):  # type: ignore[misc]
    """Asks the bridge whenever Tune has room for another trial."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def suggest(self, trial_id: str) -> Any:
        if not self._bridge.has_place():
            return None
        if self._bridge.is_done():
            return Searcher.FINISHED
        trial = self._bridge.ask(trial_id)
        return None if trial is None else {TRIAL: Sealed(trial)}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The scheduler has told it already."""


class BridgeScheduler(FIFOScheduler):  # type: ignore[misc]
    """Passes on what workers say. It never lets Tune stop a trial: that would lose its value."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def on_trial_result(self, _controller: Any, trial: Any, result: dict[str, Any]) -> str:
        message = result[MESSAGE].take()
        if message is None:
            pass  # it was said past Ray
        elif isinstance(message, Ended):
            self._bridge.end(trial.trial_id, message)
        elif self._bridge.report(trial.trial_id, message) is Decision.STOP:
            # Arrives before the next step, which is what lets the work function's report return.
            trial.temporary_state.ray_actor.stop_work.remote()
        return str(self.CONTINUE)

    def on_trial_complete(self, _controller: Any, trial: Any, result: dict[str, Any]) -> None:
        message = result[MESSAGE].take()
        if message is not None:
            self._bridge.end(trial.trial_id, message)


class _Classes:
    """Makes actor classes as Tune's own cache does, but without an environment of their own.

    So workers start in the processes that Ray holds ready, a second sooner.
    """

    def __init__(self) -> None:
        self._made: dict[type, Any] = {}

    def get(self, trainable: type) -> Any:
        return self._made.setdefault(trainable, ray.remote(trainable))


class Controller(TuneController):  # type: ignore[misc]
    """Tune's event loop, without its snapshots on disk."""

    _actor_manager: Any
    _trials: list[Trial]

    def __init__(
        self,
        bridge: Bridge,
        *,
        resources: Resources,
        ear: Ear | None,
        relayed: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        """With an ear, workers are a `Relay` each, told what `relayed` says; else a `Worker`."""
        super().__init__(**kwargs)
        self._bridge = bridge
        self._resources = resources
        self._class_cache = _Classes()
        self._is_relayed = ear is not None
        if ear is not None:
            relays = Relays(resource_manager=self._actor_manager._resource_manager)
            relays.bridge, relays.ear = bridge, ear
            relays.told = {**relayed, "driver": ear.path}
            self._actor_manager = relays

    @property
    def n_waiting(self) -> int:
        """How many trials have no place yet."""
        return len(self._pending_trials)

    def add_trial(self, trial: Trial) -> None:
        """Takes a trial in, with the resources that it asks for itself, if it does.

        Tune uses a process again for trials that ask for the same.
        """
        resources = self._bridge.resources(trial.trial_id)
        if resources is not None and resources != self._resources:
            trial._default_placement_group_factory = request_of(resources)
        super().add_trial(trial)

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        """Nothing: the ledger is the memory."""

    def _maybe_update_trial_queue(self) -> None:
        if self._bridge.has_place():  # else Tune would copy whole experiments, to be told: none now
            super()._maybe_update_trial_queue()

    def forget_ended(self) -> None:
        """Lets go of trials that are over, which Tune would keep: the ledger remembers them."""
        over = (self._stopped_trials | self._failed_trials) - self._trial_to_actor.keys()
        self._trials = [trial for trial in self._trials if trial not in over]
        for kept in (self._stopped_trials, self._failed_trials, self._trials_to_cache):
            kept -= over

    def end_stalled(self, stall_s: float) -> None:
        """Kills the processes of trials that were silent for so long; Tune then loses them."""
        for trial in self.get_live_trials():
            actor = trial.temporary_state.ray_actor
            if trial.status != Trial.RUNNING or actor is None:
                self._bridge.hear(trial.trial_id)
            elif self._bridge.stalls(trial.trial_id, stall_s):
                ray.kill(actor)

    def kill_workers(self) -> None:
        """Ends all at once; one in the middle of an epoch or of its start would not hear a word."""
        self._actor_manager.cleanup()

    def _maybe_reuse_cached_actor(self, trial: Trial) -> bool:
        """Leaves a free process to another trial where this one's own has a place and starts.

        Tune would end the one that starts; where trials are shorter than a start, no second
        process would ever come up, be it on this node or on one that joins.
        """
        own = None if trial in self._resetting_trials else self._trial_to_actor.get(trial)
        if own is not None and self._actor_manager.is_actor_started(own):
            return False
        return bool(super()._maybe_reuse_cached_actor(trial))

    def _schedule_trial_reset(self, trial: Any, new_config: Any, new_experiment_tag: str) -> None:
        if not self._is_relayed:
            super()._schedule_trial_reset(trial, new_config, new_experiment_tag)
            return
        trial.set_experiment_tag(new_experiment_tag)
        trial.set_config(new_config)
        self._resetting_trials.add(trial)
        self._schedule_trial_task(
            trial=trial,
            method_name="reset",
            args=(new_config[TRIAL],),
            on_result=self._on_trial_reset,
            on_error=self._trial_task_failure,
        )

    def _trial_task_failure(self, trial: Any, exception: BaseException) -> None:
        self._bridge.lose(trial.trial_id, exception)
        super()._trial_task_failure(trial, exception)


def request_of(resources: Resources) -> tune.PlacementGroupFactory:
    """What Tune shall set aside; for processes that train together it is Ray Train's business."""
    bundle: Mapping[str, float] = {"CPU": resources.cpus, "GPU": resources.gpus}
    return tune.PlacementGroupFactory([dict(DRIVER if resources.workers > 1 else bundle)])
