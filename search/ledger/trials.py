"""An Optuna storage with a write-back cache: trials are read once and written in batches.

Only the owner of a study's lease writes it, so its memory equals the database. Optuna's own
`RDBStorage` queries the database for every suggestion and commits every parameter.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from chorale.search.ledger import trial_rows
from chorale.search.ledger._optuna import OpenInMemoryStorage, trial_id_of
from chorale.search.ledger.database import DATABASE_ERRORS, Database
from chorale.search.ledger.trial_rows import PendingChange

LEASE_CHECK_INTERVAL_S = 1.0
"""The shortest time between two checks of the lease when reports are written."""


class TrialsStorage(OpenInMemoryStorage):
    """An Optuna storage over the ledger's database, for one process that holds its studies' leases.

    Parameters that are suggested one by one are written together at `flush`, at the trial's first
    report or at its end. Complete trials, reports, a pruner's attributes and ends are written at
    once.
    """

    def __init__(self, database: Database, guard: Callable[[sa.Connection], None]) -> None:
        """Creates Optuna's tables where they are missing.

        `guard` is called inside each transaction and raises where this process must not write.

        Raises:
            RuntimeError: the tables are of an incompatible version of Optuna.
            SQLAlchemyError: they cannot be created.
        """
        super().__init__()
        self._database = database
        self._guard = guard
        # Optuna formats {SCHEMA_VERSION} in URLs, so braces in a folder's name must be doubled
        url = database.url.render_as_string(hide_password=False)
        url = url.replace("{", "{{").replace("}", "}}")
        database.write(trial_rows.make_tables, verb="opened")  # in one transaction, which is faster
        try:
            self._rdb = RDBStorage(url, engine_kwargs=database.options(durable=False))
        except StorageInternalError as error:  # which hides the database's error
            raise error.__cause__ or error from error
        self._study_rows: dict[int, int] = {}
        self._trial_rows: dict[int, int] = {}
        self._pending: dict[int, PendingChange] = {}
        self._in_doubt = False
        self._guarded_s = -math.inf

    def close(self) -> None:
        """Closes the database; pending changes are not written."""
        self._rdb.remove_session()
        self._rdb.engine.dispose()

    def flush(self) -> None:
        """Writes pending changes, in one transaction.

        Raises:
            LedgerError: they could not be written; they stay pending.
        """
        if self._pending:
            self._database.write(self._flush_quickly, durable=False)
            self.flushed()

    def flush_into(self, c: sa.Connection) -> None:
        """Writes pending changes in the transaction of `c`; call `flushed` after its commit."""
        self._guard(c)
        self._guarded_s = time.monotonic()
        self._write(c)

    def flushed(self) -> None:
        """Forgets pending changes, which `flush_into` wrote and the caller has committed."""
        self._pending.clear()
        self._in_doubt = False

    # The interface of Optuna's storages.

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        with self._ledger_errors():
            row = self._rdb.create_new_study(directions, study_name)
            name = self._rdb.get_study_name_from_id(row)
        return self._remember(name, row)

    def delete_study(self, study_id: int) -> None:
        self.require_study(study_id)
        self.flush()
        with self._ledger_errors():
            self._rdb.delete_study(self._study_rows[study_id])
        super().delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_user_attr(study_id, key, value)
        with self._ledger_errors():
            self._rdb.set_study_user_attr(self._study_rows[study_id], key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        super().set_study_system_attr(study_id, key, value)
        with self._ledger_errors():
            self._rdb.set_study_system_attr(self._study_rows[study_id], key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        if not self.knows_study(study_name):
            with self._ledger_errors():
                row = self._rdb.get_study_id_from_name(study_name)
            return self._remember(study_name, row)
        return super().get_study_id_from_name(study_name)

    def get_all_studies(self) -> list[Any]:
        with self._ledger_errors():
            names = [study.study_name for study in self._rdb.get_all_studies()]
        for name in names:
            self.get_study_id_from_name(name)
        return super().get_all_studies()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        trial_id = super().create_new_trial(study_id, template_trial)
        change = self._pending[trial_id] = PendingChange(state=True)
        if template_trial is not None:
            trial = self.stored_trial(trial_id)
            change.params = dict(trial.distributions)
            change.reports = dict(trial.intermediate_values)
            change.user, change.system = dict(trial.user_attrs), dict(trial.system_attrs)
            if trial.state != TrialState.WAITING:
                self.flush()
        return trial_id

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self._change(trial_id).params[param_name] = distribution

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        done = super().set_trial_state_values(trial_id, state, values)
        if done:
            self._change(trial_id).state = True
            if state.is_finished():
                self.flush()
        return done

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._change(trial_id).reports[step] = intermediate_value
        self.flush()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_user_attr(trial_id, key, value)
        self._change(trial_id).user[key] = value
        self._flush_if_reported(trial_id)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        super().set_trial_system_attr(trial_id, key, value)
        self._change(trial_id).system[key] = value
        self._flush_if_reported(trial_id)

    def _flush_quickly(self, c: sa.Connection) -> None:
        if time.monotonic() - self._guarded_s < LEASE_CHECK_INTERVAL_S:
            self._write(c)
        else:
            self.flush_into(c)

    def _write(self, c: sa.Connection) -> None:
        in_doubt, self._in_doubt = self._in_doubt, True
        rows: trial_rows.TableRows = {}
        for trial_id, change in self._pending.items():
            row = self._trial_row(c, trial_id, change, in_doubt=in_doubt)
            trial_rows.collect_rows(rows, row, self.stored_trial(trial_id), change)
        trial_rows.upsert_rows(c, rows)

    def _flush_if_reported(self, trial_id: int) -> None:
        """Writes at once after a report: a pruner's attributes must survive a crash."""
        if self.stored_trial(trial_id).intermediate_values:
            self.flush()

    def _change(self, trial_id: int) -> PendingChange:
        return self._pending.setdefault(trial_id, PendingChange())

    def _remember(self, name: str, row: int) -> int:
        """Reads a study of the database into memory; returns its id in memory."""
        with self._ledger_errors():
            directions = self._rdb.get_study_directions(row)
            user, system = (
                self._rdb.get_study_user_attrs(row),
                self._rdb.get_study_system_attrs(row),
            )
            trials = self._rdb.get_all_trials(row, deepcopy=False)
        study_id = super().create_new_study(directions, name)
        study = self.stored_study(study_id)
        study.user_attrs, study.system_attrs = user, system
        for trial in trials:
            self._trial_rows[super().create_new_trial(study_id, trial)] = trial_id_of(trial)
            study.param_distribution.update(trial.distributions)
        self._study_rows[study_id] = row
        return study_id

    def _trial_row(
        self, c: sa.Connection, trial_id: int, change: PendingChange, *, in_doubt: bool
    ) -> int:
        """Inserts or updates the trial's row; returns its row id."""
        trial = self.stored_trial(trial_id)
        study_row = self._study_rows[self.study_of_trial(trial_id)]
        row = self._trial_rows.get(trial_id)
        if in_doubt:  # whether an earlier attempt inserted it is not known
            row = trial_rows.find_trial(c, study_row, trial.number)
        if row is None:
            row = trial_rows.insert_trial(c, study_row, trial)
        elif change.state:
            trial_rows.update_trial(c, row, trial)
        self._trial_rows[trial_id] = row
        return row

    @contextmanager
    def _ledger_errors(self) -> Iterator[None]:
        """Turns what Optuna's own storage raises into a `LedgerError`."""
        try:
            yield
        except (StorageInternalError, *DATABASE_ERRORS) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) else error
            raise self._database.error("written", cause or error) from error
