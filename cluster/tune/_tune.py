"""Private names of Ray Tune, all in this file: an event loop whose inner state has public methods.

Tune has no public way to reuse a trial's process for another trial, to forget trials that have
ended, or to put another actor manager in the place of its own.
"""

from collections.abc import Callable
from typing import Any

import ray
from ray import tune
from ray.air.execution._internal import RayActorManager
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

from chorale.cluster._ray import TESTED
from chorale.cluster.base import ClusterError
from chorale.cluster.versions import pip_install_command

__all__ = ["OpenTuneController", "RayActorManager"]

STATE = (
    "_actor_manager",
    "_class_cache",
    "_failed_trials",
    "_maybe_reuse_cached_actor",
    "_maybe_update_trial_queue",
    "_on_trial_reset",
    "_pending_trials",
    "_resetting_trials",
    "_schedule_trial_reset",
    "_schedule_trial_task",
    "_stopped_trials",
    "_trial_task_failure",
    "_trial_to_actor",
    "_trials",
    "_trials_to_cache",
)
"""The private attributes of a `TuneController` that this file uses."""


class _ActorClassCache:
    """Makes actor classes like Tune's own cache, but without a runtime environment of their own.

    So workers start in the idle processes that Ray keeps ready, a second sooner.
    """

    def __init__(self) -> None:
        self._classes: dict[type, Any] = {}

    def get(self, trainable: type) -> Any:
        return self._classes.setdefault(trainable, ray.remote(trainable))


class OpenTuneController(TuneController):  # type: ignore[misc]
    """Tune's event loop with methods for what a subclass here needs of its private state."""

    _actor_manager: Any
    _trials: list[Trial]

    def __init__(self, **kwargs: Any) -> None:
        """Checks that Tune has all that is used here.

        Raises:
            ClusterError: names what it lacks, and the release to install.
        """
        super().__init__(**kwargs)
        if missing := [name for name in STATE if not hasattr(self, name)]:
            raise ClusterError(
                f"Ray Tune {ray.__version__} lacks {', '.join(missing)}, which Chorale needs "
                f"(tested with {TESTED}); type: {pip_install_command(f'ray[tune]=={TESTED}.*')}"
            )
        self._class_cache = _ActorClassCache()

    @property
    def n_waiting(self) -> int:
        """How many trials wait for a worker."""
        return len(self._pending_trials)

    def replace_actor_manager(self, make: Callable[..., RayActorManager]) -> None:
        """Puts another actor manager, over the same resources, in the place of Tune's own."""
        self._actor_manager = make(resource_manager=self._actor_manager._resource_manager)

    def reserve(self, trial: Trial, resources: tune.PlacementGroupFactory) -> None:
        """Gives a trial resources of its own; Tune reuses a process only for equal ones."""
        trial._default_placement_group_factory = resources

    def forget_ended(self) -> None:
        """Removes ended trials, which Tune would keep in memory: the ledger has them."""
        ended = (self._stopped_trials | self._failed_trials) - self._trial_to_actor.keys()
        self._trials = [trial for trial in self._trials if trial not in ended]
        for kept in (self._stopped_trials, self._failed_trials, self._trials_to_cache):
            kept -= ended

    def kill_workers(self) -> None:
        """Kills all at once; one that is training or starting would not react to a request."""
        self._actor_manager.cleanup()

    def has_starting_actor(self, trial: Trial) -> bool:
        """Whether the trial's own actor is scheduled and starting."""
        own = None if trial in self._resetting_trials else self._trial_to_actor.get(trial)
        return own is not None and bool(self._actor_manager.is_actor_started(own))

    def reset_actor(self, trial: Trial, config: Any, tag: str, argument: Any) -> None:
        """Reuses a trial's actor for another configuration: calls its method `reset(argument)`."""
        trial.set_experiment_tag(tag)
        trial.set_config(config)
        self._resetting_trials.add(trial)
        self._schedule_trial_task(
            trial=trial,
            method_name="reset",
            args=(argument,),
            on_result=self._on_trial_reset,
            on_error=self._trial_task_failure,
        )
