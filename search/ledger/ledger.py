"""The ledger: Optuna's tables and our own in one database, the only record of what has run.

Only the driver writes. A trial counts once `record` has returned: it is on disk then, and survives
a crash or a power cut. SQLite by default, PostgreSQL for teams.
"""

import contextlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import optuna
import sqlalchemy as sa

from chorale.datasets.errors import UserError
from chorale.search.ledger import optuna_rows, tables
from chorale.search.ledger.database import DATABASE_ERRORS, Database, LedgerError
from chorale.search.ledger.lease import Lease, lease_columns, refuse_changed, study_row
from chorale.search.ledger.observer import LedgerObserver
from chorale.search.ledger.owner import refuse_leased
from chorale.search.ledger.reader import LedgerReader, Row, StudyInfo, newer_schema_error, session_s
from chorale.search.ledger.trials import TrialsStorage

__all__ = ["Ledger", "LedgerError", "Row", "StudyInfo"]

MAX_NAME_LENGTH = 255
RACE_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses between attempts to create tables while another process creates them, in seconds."""


class Ledger(LedgerReader):
    """One database that holds any number of studies, open for the process that runs one of them.

    `optuna` is the storage of Optuna's trials. `create` and `reopen` acquire the study's lease,
    which this process holds until `release`: its writes are refused once another process has taken
    the lease over. The time from acquiring to releasing a lease is a session.
    """

    def __init__(self, url: str, *, observer: LedgerObserver | None = None) -> None:
        """Opens the ledger, creating its tables where they are missing.

        `observer` gets what is committed.

        Raises:
            LedgerError: the URL is invalid, the database cannot be reached or written, or a newer
                Chorale created it.
        """
        self._observer = observer
        self._database = Database(url, observer=observer)
        self._lease = Lease(self._database)
        self._cache: dict[tuple[str, str], dict[str, Row]] = {}
        self.previous_session: tuple[float, float] | None = None
        """when the previous session began, and its last heartbeat, in Unix time"""
        self.optuna = self._open()

    def close(self) -> None:
        """Closes the database. A study whose lease is not released counts as interrupted."""
        self._lease.release()
        self.optuna.close()
        super().close()
        self._database.empty_log()

    def create(
        self,
        study: str,
        fingerprint: Mapping[str, Any],
        *,
        about: Mapping[str, Any] | None = None,
        before_s: float = 0.0,
    ) -> None:
        """Creates a study and acquires its lease; `about` describes it for `chorale status`.

        This session began `before_s` seconds ago.

        Raises:
            UserError: a study of that name exists, or the name is too long.
        """
        _refuse_long_name(study, "--name")
        token = uuid.uuid4().hex

        def work(c: sa.Connection) -> str | None:
            row = study_row(c, study)
            if row is not None:  # our own, if the reply to a first attempt was lost
                return None if row.sitting == token else str(row.state)
            values = lease_columns(self._database, c, token, about, before_s=before_s) | {
                "name": study,
                "fingerprint": json.dumps(fingerprint, sort_keys=True),
                "created_utc": _now(),
                "spent_s": 0.0,
            }
            c.execute(tables.studies.insert().values(**values))
            return None

        try:
            state = self._database.write(work)
        except LedgerError as error:
            if not isinstance(error.__cause__, sa.exc.IntegrityError):
                raise
            state = "running"  # another process was slightly faster
        if state is not None:
            raise UserError(
                f"study '{study}' exists already ({state}); continue it with --resume, or start"
                f" another with --name {study}-2"
            )
        self._cache = {}
        self._lease.acquire(study, token)

    def reopen(
        self,
        study: str,
        fingerprint: Mapping[str, Any],
        *,
        about: Mapping[str, Any] | None = None,
        take_over: bool = False,
        before_s: float = 0.0,
    ) -> None:
        """Resumes an existing study; `take_over` takes the lease even if its owner seems alive.

        This session began `before_s` seconds ago. Sets `previous_session`.

        Raises:
            UserError: there is no such study, another process has its lease, or its dataset, split,
                space or seed differ from those that it was started with.
        """
        token = uuid.uuid4().hex

        def work(c: sa.Connection) -> None:
            row = study_row(c, study, lock=not self._database.is_sqlite)
            if row is None:
                raise UserError(f"there is no study '{study}' to resume; start it without --resume")
            if row.sitting == token:
                return
            now_s = self._database.now_s(c)
            if not take_over:
                refuse_leased(row, now_s)
            refuse_changed(study, json.loads(row.fingerprint), fingerprint)
            values = lease_columns(self._database, c, token, about, before_s=before_s)
            if row.sat_down_s is not None and row.beat_s is not None:
                self.previous_session = (row.sat_down_s, row.beat_s)
            spent_s = row.spent_s + session_s(row, now_s)  # of an owner that died, too
            where = tables.studies.c.name == study
            c.execute(tables.studies.update().where(where).values(**values, spent_s=spent_s))

        self._database.write(work)
        self._cache = {}
        self._lease.acquire(study, token)

    def release(self, study: str, state: str, *, spent_s: float) -> None:
        """Releases the lease of a study; `spent_s` is the wall time of this session.

        Raises:
            LedgerError: it cannot be written, or another process has taken the study over.
        """

        def work(c: sa.Connection) -> None:
            self.optuna.flush_into(c)
            row = study_row(c, study)
            if row is None or (row.holder is None and row.sitting == self._lease.token):
                return  # released already, but the reply was lost
            values = {
                "state": state,
                "holder": None,
                "spent_s": row.spent_s + spent_s,
                "beat_s": self._database.now_s(c),
            }
            c.execute(
                tables.studies.update().where(tables.studies.c.name == study).values(**values)
            )

        self._database.write(work)
        self.optuna.flushed()
        self._lease.release()

    @contextmanager
    def deleting(self, study: str, *, take_over: bool = False) -> Iterator[None]:
        """Removes a study after the block, which removes its files: its row and all its trials.

        Within the block this process has the study's lease (see `reopen` for `take_over`). If the
        block raises, the study stays, and can be deleted again. Its evaluations of locked test sets
        stay counted: a test set has been looked at, whatever becomes of the study.

        Raises:
            UserError: there is no such study, or another process has its lease.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.reopen(study, self.fingerprint(study), take_over=take_over)
        yield
        with contextlib.suppress(KeyError):  # it has no trial, or was deleted half-way
            self.optuna.delete_study(self.optuna.get_study_id_from_name(study))

        def work(c: sa.Connection) -> None:
            self._lease.guard(c)
            c.execute(tables.trials.delete().where(tables.trials.c.study == study))
            c.execute(tables.studies.delete().where(tables.studies.c.name == study))

        self._database.write(work)
        self._cache = {}
        self._lease.release()

    @contextmanager
    def renaming(self, study: str, new: str, *, take_over: bool = False) -> Iterator[None]:
        """Gives a study another name after the block, which renames its files.

        Within the block this process has the study's lease (see `reopen` for `take_over`). If the
        block raises, the study keeps its name, and can be renamed again. This ledger must be closed
        afterwards, as Optuna's storage knows the study by its old name.

        Raises:
            UserError: there is no such study, another process has its lease, or a study of the new
                name exists.
        """
        _refuse_long_name(new, "name")
        if (state := self.state(new)) is not None:
            raise UserError(f"study '{new}' exists already ({state}); give another name")
        before = self.study(study).state
        self.reopen(study, self.fingerprint(study), take_over=take_over)
        try:
            yield
        except BaseException:
            self.release(study, before, spent_s=0.0)
            raise

        def work(c: sa.Connection) -> None:
            row = study_row(c, study)
            if row is None and study_row(c, new) is not None:
                return  # renamed already, but the reply was lost
            self._lease.guard(c)
            values = {"name": new, "state": before, "holder": None}
            c.execute(tables.studies.update().where(tables.studies.c.name == study).values(values))
            for table in (tables.trials, tables.looks):
                c.execute(table.update().where(table.c.study == study).values(study=new))
            optuna_rows.rename(c, study, new)

        self._database.write(work)
        self._cache = {}
        self._lease.release()

    def flush(self) -> None:
        """Writes suggestions and reports that are not yet written.

        Raises:
            LedgerError: it cannot be written, or another process has taken the study over.
        """
        self.optuna.flush()

    def record(self, study: str, stage: str, row: Row) -> None:
        """Writes how a training run ended, replacing an earlier row of the same key.

        Raises:
            LedgerError: it cannot be written, or another process has taken the study over.
        """
        values = {
            "study": study,
            "stage": stage,
            "key": row.key,
            "state": row.state,
            "reason": _printable(row.reason),
            "facts": json.dumps(dict(row.facts)),
        }

        def work(c: sa.Connection) -> None:
            self.optuna.flush_into(c)
            keys = ("study", "stage", "key")
            c.execute(
                tables.upsert_statement(tables.trials, c.dialect.name, keys, tuple(values)), values
            )

        self._database.write(work)
        self.optuna.flushed()
        written = Row(row.key, row.state, values["reason"], json.loads(values["facts"]))
        if (cached := self._cache.get((study, stage))) is not None:
            cached[row.key] = written
        if self._observer is not None:
            self._observer.recorded(stage, written)

    def rows(self, study: str, stage: str) -> dict[str, Row]:
        """Every recorded run of a stage by key, cached for the study that this process runs."""
        if study != self._lease.study:
            return super().rows(study, stage)
        if (study, stage) not in self._cache:
            self._cache[study, stage] = super().rows(study, stage)
        return dict(self._cache[study, stage])

    def count_test_look(self, study: str, split: str) -> int:
        """Counts one evaluation of a locked test set; returns the number of all of them.

        A retry after a lost reply counts once, as evaluations are identified by their time.
        """
        looked_utc = datetime.now(UTC).isoformat(timespec="microseconds")
        mine = {"study": study, "split": split, "looked_utc": looked_utc}

        def work(c: sa.Connection) -> int:
            self._lease.guard(c)
            existing = sa.select(tables.looks.c.id).where(
                *(tables.looks.c[name] == value for name, value in mine.items())
            )
            if c.execute(existing).first() is None:
                c.execute(tables.looks.insert().values(**mine))
            query = sa.select(sa.func.count()).where(tables.looks.c.split == split)
            return int(c.execute(query).scalar_one())

        return self._database.write(work)

    def _open(self) -> TrialsStorage:
        try:
            if self._database.path is not None:
                self._database.path.parent.mkdir(parents=True, exist_ok=True)
            return self._create_tables()
        except tables.NewerSchemaError as error:
            raise newer_schema_error(self._database, error) from error
        except DATABASE_ERRORS as error:
            raise self._database.error("opened", error) from error
        except RuntimeError as error:  # raised by Optuna for tables of another Optuna version
            raise LedgerError(
                f"the ledger '{self._database.shown}' cannot be opened: its trials were written by "
                f"another Optuna ({' '.join(str(error).split())}); install that one, or give "
                f"another --store sqlite:///FOLDER/chorale.db"
            ) from error

    def _create_tables(self) -> TrialsStorage:
        """Creates all tables, even if another process does so at the same time."""
        for pause_s in (*RACE_PAUSES_S, None):
            try:
                self._database.write(tables.create_or_upgrade, verb="opened")
                return TrialsStorage(self._database, self._lease.guard)
            except (LedgerError, *DATABASE_ERRORS) as error:
                if pause_s is None or not _raced(error):
                    raise
                time.sleep(pause_s)
        raise RuntimeError("unreachable: the last attempt returns or raises")


def _refuse_long_name(study: str, option: str) -> None:
    """Refuses a name that the tables have no room for.

    Raises:
        UserError: it is too long.
    """
    if len(study) > MAX_NAME_LENGTH:
        raise UserError(
            f"a study's name may have {MAX_NAME_LENGTH} characters, but this one has "
            f"{len(study)}; give a shorter {option}"
        )


def _raced(error: BaseException) -> bool:
    """Whether another process created the same tables at the same time."""
    cause = error.__cause__ if isinstance(error, LedgerError) else error
    return isinstance(cause, sa.exc.IntegrityError) or "already exists" in str(cause)


def _printable(text: str) -> str:
    """`text` as every database accepts it: without NUL and lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
