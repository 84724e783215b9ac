"""Writes trials as rows of Optuna's own tables, so that Optuna's tools can read them.

`search.ledger.trials` decides when to write; this module knows what.
"""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial

from chorale.search.ledger._optuna import table_models
from chorale.search.ledger.tables import upsert_statement

TableRows = dict[Any, list[dict[str, Any]]]
"""Optuna's SQLAlchemy model of a table -> rows of it."""

_models = table_models()
_TRIALS: Any = _models.TrialModel.__table__
_PARAMS = _models.TrialParamModel
_VALUES = _models.TrialValueModel
_REPORTS = _models.TrialIntermediateValueModel
_USER = _models.TrialUserAttributeModel
_SYSTEM = _models.TrialSystemAttributeModel
_KEYS: dict[Any, str] = {
    _PARAMS: "param_name",
    _VALUES: "objective",
    _REPORTS: "step",
    _USER: "key",
    _SYSTEM: "key",
}


@dataclass
class PendingChange:
    """What is not yet written of one trial."""

    state: bool = False
    params: dict[str, BaseDistribution] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)
    user: dict[str, Any] = field(default_factory=dict)
    system: dict[str, Any] = field(default_factory=dict)


def make_tables(c: sa.Connection) -> None:
    """Creates Optuna's tables where they are missing."""
    _models.BaseModel.metadata.create_all(c)


def find_trial(c: sa.Connection, study: int, number: int) -> int | None:
    """The row id of a trial by its number in the study of row id `study`; None if there is none."""
    where = (_TRIALS.c.study_id == study, _TRIALS.c.number == number)
    return c.execute(sa.select(_TRIALS.c.trial_id).where(*where)).scalar()


def insert_trial(c: sa.Connection, study: int, trial: FrozenTrial) -> int:
    """Inserts a trial, without its rows in other tables; returns its row id."""
    values = {"study_id": study, "number": trial.number, **_state(trial)}
    statement = sa.insert(_TRIALS).values(**values).returning(_TRIALS.c.trial_id)
    return int(c.execute(statement).scalar_one())


def update_trial(c: sa.Connection, row: int, trial: FrozenTrial) -> None:
    """Writes a trial's state and times."""
    c.execute(sa.update(_TRIALS).where(_TRIALS.c.trial_id == row).values(**_state(trial)))


def collect_rows(rows: TableRows, row: int, trial: FrozenTrial, change: PendingChange) -> None:
    """Adds a trial's changes to the rows of each table."""

    def add(model: Any, **values: Any) -> None:
        rows.setdefault(model, []).append({"trial_id": row, **values})

    for name, distribution in change.params.items():
        inner = distribution.to_internal_repr(trial.params[name])
        text = distribution_to_json(distribution)
        add(_PARAMS, param_name=name, param_value=inner, distribution_json=text)
    for step, report in change.reports.items():
        number, kind = _REPORTS.intermediate_value_to_stored_repr(report)
        add(_REPORTS, step=step, intermediate_value=number, intermediate_value_type=kind)
    for model, attributes in ((_USER, change.user), (_SYSTEM, change.system)):
        for key, attribute in attributes.items():
            add(model, key=key, value_json=json.dumps(attribute))
    if change.state and trial.values is not None:
        for objective, number in enumerate(trial.values):
            stored, sort = _VALUES.value_to_stored_repr(number)
            add(_VALUES, objective=objective, value=stored, value_type=sort)


def upsert_rows(c: sa.Connection, rows: TableRows) -> None:
    """Writes rows, replacing existing ones."""
    for model, values in rows.items():
        keys = ("trial_id", _KEYS[model])
        c.execute(upsert_statement(model.__table__, c.dialect.name, keys, tuple(values[0])), values)


def _state(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "state": trial.state,
        "datetime_start": _utc(trial.datetime_start),
        "datetime_complete": _utc(trial.datetime_complete),
    }


def _utc(moment: datetime | None) -> datetime | None:
    """As Optuna stores it: naive, in UTC."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
