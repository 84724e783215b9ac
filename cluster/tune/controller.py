"""Ray Tune's searcher, scheduler and controller, adapted to `cluster.local_workers.dispatcher`.

`cluster.tune.runner` drives them. They leave out what Tune's own also do: snapshots, logs and
copies.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from chorale.cluster.base import Decision, Resources
from chorale.cluster.local_workers.dispatcher import Dispatcher
from chorale.cluster.local_workers.report_socket import ReportSocket
from chorale.cluster.messages import MESSAGE, TRIAL, Sealed, TrialEnded
from chorale.cluster.tune._tune import OpenTuneController
from chorale.cluster.tune.distributed_trial import COORDINATOR_RESOURCES
from chorale.cluster.tune.proxy_actors import ProxyActors


class DispatcherSearcher(Searcher):  # type: ignore[misc]
    """Tune searcher that asks the dispatcher whenever Tune has room for another trial."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def suggest(self, trial_id: str) -> Any:
        if not self._dispatcher.has_room():
            return None
        if self._dispatcher.is_done():
            return Searcher.FINISHED
        trial = self._dispatcher.ask(trial_id)
        return None if trial is None else {TRIAL: Sealed(trial)}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Does nothing: the scheduler passes outcomes on."""


class DispatcherScheduler(FIFOScheduler):  # type: ignore[misc]
    """Tune scheduler that passes on workers' messages.

    It never lets Tune stop a trial: that would lose the trial's value.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def on_trial_result(self, _controller: Any, trial: Any, result: dict[str, Any]) -> str:
        message = result[MESSAGE].take()
        if message is None:
            pass  # its reports and outcomes bypassed Ray
        elif isinstance(message, TrialEnded):
            self._dispatcher.end(trial.trial_id, message)
        elif self._dispatcher.report(trial.trial_id, message) is Decision.STOP:
            # Arrives before the next step, in which the work function's report returns.
            trial.temporary_state.ray_actor.stop_work.remote()
        return str(self.CONTINUE)

    def on_trial_complete(self, _controller: Any, trial: Any, result: dict[str, Any]) -> None:
        message = result[MESSAGE].take()
        if message is not None:
            self._dispatcher.end(trial.trial_id, message)


class Controller(OpenTuneController):
    """Tune's event loop, without its snapshots on disk."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        resources: Resources,
        reports: ReportSocket | None,
        proxy_kwargs: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        """With a report socket, each worker is a `ProxyActor`, made with `proxy_kwargs`.

        Without it, each is a `Worker`.
        """
        super().__init__(**kwargs)
        self._dispatcher = dispatcher
        self._resources = resources
        self._uses_proxies = reports is not None
        if reports is not None:
            actor_kwargs = {**proxy_kwargs, "driver": reports.path}
            self.replace_actor_manager(partial(ProxyActors.over, dispatcher, reports, actor_kwargs))

    def add_trial(self, trial: Trial) -> None:
        """Adds a trial, with its own resources if it has any.

        Tune reuses a process only for trials with the same resources.
        """
        resources = self._dispatcher.resources(trial.trial_id)
        if resources is not None and resources != self._resources:
            self.reserve(trial, placement_group_factory(resources))
        super().add_trial(trial)

    def checkpoint(self, force: bool = False, wait: bool = False) -> None:
        """Does nothing: the ledger keeps the state."""

    def _maybe_update_trial_queue(self) -> None:
        if self._dispatcher.has_room():  # else Tune would copy experiments for nothing
            super()._maybe_update_trial_queue()

    def kill_stalled(self, stall_s: float) -> None:
        """Kills the processes of stalled trials; Tune then finds them lost."""
        for trial in self.get_live_trials():
            actor = trial.temporary_state.ray_actor
            if trial.status != Trial.RUNNING or actor is None:
                self._dispatcher.record_activity(trial.trial_id)
            elif self._dispatcher.newly_stalled(trial.trial_id, stall_s):
                ray.kill(actor)

    def _maybe_reuse_cached_actor(self, trial: Trial) -> bool:
        """Leaves a free process to another trial if this trial's own is scheduled and starting.

        Tune would end the starting process. If trials are shorter than a start, no second process
        would ever come up, neither on this node nor on one that joins.
        """
        if self.has_starting_actor(trial):
            return False
        return bool(super()._maybe_reuse_cached_actor(trial))

    def _schedule_trial_reset(self, trial: Any, new_config: Any, new_experiment_tag: str) -> None:
        if not self._uses_proxies:
            super()._schedule_trial_reset(trial, new_config, new_experiment_tag)
            return
        self.reset_actor(trial, new_config, new_experiment_tag, new_config[TRIAL])

    def _trial_task_failure(self, trial: Any, exception: BaseException) -> None:
        self._dispatcher.lose(trial.trial_id, exception)
        super()._trial_task_failure(trial, exception)


def placement_group_factory(resources: Resources) -> tune.PlacementGroupFactory:
    """The resources that Tune reserves; those of a distributed trial are reserved by Ray Train."""
    bundle: Mapping[str, float] = {"CPU": resources.cpus, "GPU": resources.gpus}
    return tune.PlacementGroupFactory(
        [dict(COORDINATOR_RESOURCES if resources.workers > 1 else bundle)]
    )
