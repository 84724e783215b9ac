"""Private names of Optuna, all in this file; checked when the ledger is opened.

Optuna has no public way to write its tables in batches, to read a trial without a copy, or to tell
a stored trial's id.
"""

import importlib
from collections.abc import Iterable
from functools import cache
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, create_trial

from chorale.cluster.versions import missing_names
from chorale.datasets.errors import UserError

TESTED = "5.0"
"""The release that Chorale was tested with."""

REQUIRED = (
    "optuna.storages:InMemoryStorage._check_study_id",
    "optuna.storages:InMemoryStorage._get_trial",
    "optuna.storages._rdb.models:TrialIntermediateValueModel",
    "optuna.storages._rdb.models:TrialModel.__table__",
    "optuna.storages._rdb.models:TrialParamModel",
    "optuna.storages._rdb.models:TrialSystemAttributeModel",
    "optuna.storages._rdb.models:TrialUserAttributeModel",
    "optuna.storages._rdb.models:TrialValueModel",
    "optuna.study._frozen:FrozenStudy",
)
"""Private names that this file uses, as module:attributes; those of instances are in `STATE`."""

STATE = ("_studies", "_study_name_to_id", "_trial_id_to_study_id_and_number")
"""The private attributes of an `InMemoryStorage` that this file uses."""


def missing_optuna_names(required: Iterable[str] = REQUIRED) -> list[str]:
    """The private names that are used here and that the installed Optuna lacks."""
    storage, trial = InMemoryStorage(), create_trial(value=0.0)
    missing = missing_names(required)
    missing += [f"InMemoryStorage.{name}" for name in STATE if not hasattr(storage, name)]
    return missing + ([] if hasattr(trial, "_trial_id") else ["FrozenTrial._trial_id"])


@cache
def require_optuna_internals() -> None:
    """Checks once that the installed Optuna has every private name that is used here.

    Raises:
        UserError: names those that it lacks, and the release to install.
    """
    if missing := missing_optuna_names():
        raise UserError(
            f"Optuna {optuna.__version__} lacks {', '.join(missing)}, which Chorale needs (tested "
            f"with {TESTED}); type: pip install 'optuna=={TESTED}.*'"
        )


def table_models() -> Any:
    """Optuna's SQLAlchemy models of its tables.

    Raises:
        UserError: as `require_optuna_internals`.
    """
    require_optuna_internals()
    return importlib.import_module("optuna.storages._rdb.models")


def storage_of(study: Study) -> BaseStorage:
    """The storage of a study."""
    return study._storage


def study_id_of(study: Study) -> int:
    """A study's id in its storage."""
    return study._study_id


def trial_id_of(trial: FrozenTrial) -> int:
    """A trial's id in its storage."""
    return trial._trial_id


def search_space_groups(sampler: TPESampler) -> list[dict[str, Any]]:
    """The groups of parameters that occur together, as TPE's `group=True` has found them."""
    groups = sampler._search_space_group
    return list(groups.search_spaces) if groups else []


class OpenInMemoryStorage(InMemoryStorage):
    """Optuna's storage in memory, with methods for what a subclass needs of its private state."""

    def require_study(self, study_id: int) -> None:
        """Raises KeyError where there is no such study."""
        self._check_study_id(study_id)

    def knows_study(self, name: str) -> bool:
        """Whether a study of that name is in memory."""
        return name in self._study_name_to_id

    def stored_study(self, study_id: int) -> Any:
        """A study in memory, not a copy."""
        return self._studies[study_id]

    def stored_trial(self, trial_id: int) -> FrozenTrial:
        """A trial in memory, not a copy."""
        return self._get_trial(trial_id)

    def study_of_trial(self, trial_id: int) -> int:
        """The id of the study that a trial belongs to."""
        return self._trial_id_to_study_id_and_number[trial_id][0]
