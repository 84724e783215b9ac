"""Reads intermediate values, times and distributions from Optuna's own tables, without Optuna.

Our rows lack these: the objective after each epoch, of failed trials too, and the search space. It
also renames a study there, which Optuna itself cannot.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

Reports = dict[int, list[tuple[int, float]]]
"""Trial number -> (epoch, objective) in order."""


def reports(c: sa.Connection, study: str) -> Reports:
    """The finite values that each trial reported."""
    found: Reports = {}
    query = (
        "select trials.number, v.step, v.intermediate_value from trial_intermediate_values v "
        "join trials on v.trial_id = trials.trial_id "
        "join studies on trials.study_id = studies.study_id "
        "where studies.study_name = :name and v.intermediate_value_type = 'FINITE' "
        "order by trials.number, v.step"
    )
    for number, step, value in _rows(c, "trial_intermediate_values", query, study):
        found.setdefault(int(number), []).append((int(step), float(value)))
    return found


def times(c: sa.Connection, study: str) -> dict[int, float]:
    """Trial number -> when it was asked, in Unix seconds."""
    query = (
        "select trials.number, trials.datetime_start from trials "
        "join studies on trials.study_id = studies.study_id "
        "where studies.study_name = :name and trials.datetime_start is not null"
    )
    found = _rows(c, "trials", query, study)
    return {int(number): _unix_s(began) for number, began in found}


def distributions(c: sa.Connection, study: str) -> dict[str, str]:
    """The range of each parameter, as Optuna's JSON."""
    query = (
        "select distinct p.param_name, p.distribution_json from trial_params p "
        "join trials on p.trial_id = trials.trial_id "
        "join studies on trials.study_id = studies.study_id "
        "where studies.study_name = :name"
    )
    return {str(name): str(text) for name, text in _rows(c, "trial_params", query, study)}


def rename(c: sa.Connection, study: str, new: str) -> None:
    """Gives Optuna's study another name; nothing where it has none, as before the first trial."""
    if sa.inspect(c).has_table("studies"):
        statement = sa.text("update studies set study_name = :new where study_name = :name")
        c.execute(statement, {"name": study, "new": new})


def _unix_s(moment: str | datetime) -> float:
    """SQLite gives text; Optuna stores times in UTC, without a zone."""
    naive = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return naive.replace(tzinfo=UTC).timestamp()


def _rows(c: sa.Connection, table: str, query: str, study: str) -> list[Any]:
    """The rows of a query; empty where Optuna's tables do not exist yet."""
    if not sa.inspect(c).has_table(table):
        return []
    return list(c.execute(sa.text(query), {"name": study}).all())
