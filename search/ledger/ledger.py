"""The ledger: Optuna's tables and our own in one database. What is not in it did not happen.

Only the driver writes. A trial counts when `record` has returned: it is on the disk then, whatever
happens to this process or to its machine's power. SQLite by default, PostgreSQL for teams.
"""

import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from chorale.datasets.errors import UserError
from chorale.search.ledger import tables
from chorale.search.ledger.database import FAILURES, Database, LedgerError
from chorale.search.ledger.lease import Hold, refuse_changed, refuse_held, seat, study_row
from chorale.search.ledger.reader import LedgerReader, Row, StudyInfo, newer, sitting_s
from chorale.search.ledger.trials import TrialsStorage

__all__ = ["Ledger", "LedgerError", "Row", "StudyInfo"]

NAME_LENGTH = 255
RACES_S = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses between attempts to make tables that another process makes just now, in seconds."""


class Ledger(LedgerReader):
    """One database that holds any number of studies, open for the process that runs one of them.

    `optuna` is the storage of Optuna's trials. After `create` or `reopen` this process holds the
    study until `leave`: whatever it writes is refused once another process has taken the study.
    """

    def __init__(self, url: str) -> None:
        """Opens the ledger, making its tables where they are missing.

        Raises:
            LedgerError: the URL is none, the database cannot be reached or written, or a newer
                Chorale made it.
        """
        self._database = Database(url)
        self._hold = Hold(self._database)
        self._known: dict[tuple[str, str], dict[str, Row]] = {}
        self.sitting_before: tuple[float, float] | None = None
        """when the sitting before this one began and showed its last sign of life, in Unix time"""
        self.optuna = self._open()

    def close(self) -> None:
        """Lets go of the database. A study that is still held counts as interrupted."""
        self._hold.let_go()
        self.optuna.close()
        super().close()

    def create(
        self,
        study: str,
        fingerprint: Mapping[str, Any],
        *,
        about: Mapping[str, Any] | None = None,
        before_s: float = 0.0,
    ) -> None:
        """Opens a new study, held by this process; `about` is what people will ask of it.

        This sitting began `before_s` seconds ago.

        Raises:
            UserError: a study of that name exists, or the name is too long.
        """
        if len(study) > NAME_LENGTH:
            raise UserError(
                f"a study's name has {NAME_LENGTH} characters at most, but this one has "
                f"{len(study)}; give a shorter --name"
            )
        sitting = uuid.uuid4().hex

        def work(c: sa.Connection) -> str | None:
            row = study_row(c, study)
            if row is not None:  # ours where the answer to a first attempt was lost
                return None if row.sitting == sitting else str(row.state)
            values = seat(self._database, c, sitting, about, before_s=before_s) | {
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
            state = "running"  # another process was faster by a moment
        if state is not None:
            raise UserError(
                f"study '{study}' exists already ({state}); continue it with --resume, or start"
                f" another with --name {study}-2"
            )
        self._known = {}
        self._hold.take(study, sitting)

    def reopen(
        self,
        study: str,
        fingerprint: Mapping[str, Any],
        *,
        about: Mapping[str, Any] | None = None,
        take_over: bool = False,
        before_s: float = 0.0,
    ) -> None:
        """Takes up a study that exists; with `take_over` even from a holder that seems alive.

        This sitting began `before_s` seconds ago. `sitting_before` is known after it.

        Raises:
            UserError: there is none, another process holds it, or what it was started with
                (dataset, split, space, seed) is not what it would be continued with.
        """
        sitting = uuid.uuid4().hex

        def work(c: sa.Connection) -> None:
            row = study_row(c, study, lock=not self._database.is_sqlite)
            if row is None:
                raise UserError(f"there is no study '{study}' to resume; start it without --resume")
            if row.sitting == sitting:
                return
            now_s = self._database.now_s(c)
            if not take_over:
                refuse_held(row, now_s)
            refuse_changed(study, json.loads(row.fingerprint), fingerprint)
            values = seat(self._database, c, sitting, about, before_s=before_s)
            if row.sat_down_s is not None and row.beat_s is not None:
                self.sitting_before = (row.sat_down_s, row.beat_s)
            spent_s = row.spent_s + sitting_s(row, now_s)  # that of a holder who died counts, too
            where = tables.studies.c.name == study
            c.execute(tables.studies.update().where(where).values(**values, spent_s=spent_s))

        self._database.write(work)
        self._known = {}
        self._hold.take(study, sitting)

    def leave(self, study: str, state: str, *, spent_s: float) -> None:
        """Lets go of a study; `spent_s` is the wall time of this sitting.

        Raises:
            LedgerError: it cannot be written, or another process has taken the study over.
        """

        def work(c: sa.Connection) -> None:
            self.optuna.flush_into(c)
            row = study_row(c, study)
            if row is None or (row.holder is None and row.sitting == self._hold.sitting):
                return  # left already, but the answer was lost
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
        self._hold.let_go()

    def flush(self) -> None:
        """Writes what has been asked and reported since the last time.

        Raises:
            LedgerError: it cannot be written, or another process has taken the study over.
        """
        self.optuna.flush()

    def record(self, study: str, stage: str, row: Row) -> None:
        """Writes how a training run ended; a second time replaces the first.

        Raises:
            LedgerError: it cannot be written, or another process has taken the study over.
        """
        said = {
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
            c.execute(tables.replacing(tables.trials, c.dialect.name, keys, tuple(said)), said)

        self._database.write(work)
        self.optuna.flushed()
        if (known := self._known.get((study, stage))) is not None:
            known[row.key] = Row(row.key, row.state, said["reason"], json.loads(said["facts"]))

    def rows(self, study: str, stage: str) -> dict[str, Row]:
        """Every recorded run of a stage, by its key; of a held study, without asking again."""
        if study != self._hold.study:
            return super().rows(study, stage)
        if (study, stage) not in self._known:
            self._known[study, stage] = super().rows(study, stage)
        return dict(self._known[study, stage])

    def look(self, study: str, split: str) -> int:
        """Counts one look at a locked test set; gives how often it has been looked at by now.

        Tried again where the answer to a first attempt was lost, it counts once: a look is known by
        its moment.
        """
        looked_utc = datetime.now(UTC).isoformat(timespec="microseconds")
        mine = {"study": study, "split": split, "looked_utc": looked_utc}

        def work(c: sa.Connection) -> int:
            self._hold.guard(c)
            known = sa.select(tables.looks.c.id).where(
                *(tables.looks.c[name] == value for name, value in mine.items())
            )
            if c.execute(known).first() is None:
                c.execute(tables.looks.insert().values(**mine))
            query = sa.select(sa.func.count()).where(tables.looks.c.split == split)
            return int(c.execute(query).scalar_one())

        return self._database.write(work)

    def _open(self) -> TrialsStorage:
        try:
            if self._database.path is not None:
                self._database.path.parent.mkdir(parents=True, exist_ok=True)
            return self._made()
        except tables.NewerSchemaError as error:
            raise newer(self._database, error) from error
        except FAILURES as error:
            raise self._database.error("opened", error) from error
        except RuntimeError as error:  # Optuna's word for tables of another version of its own
            raise LedgerError(
                f"the ledger '{self._database.shown}' cannot be opened: its trials were written by "
                f"another Optuna ({' '.join(str(error).split())}); install that one, or give "
                f"another --store sqlite:///FOLDER/chorale.db"
            ) from error

    def _made(self) -> TrialsStorage:
        """All tables are there after this, whoever else makes them at the same moment."""
        for pause_s in (*RACES_S, None):
            try:
                self._database.write(tables.prepare, verb="opened")
                return TrialsStorage(self._database, self._hold.guard)
            except (LedgerError, *FAILURES) as error:
                if pause_s is None or not _raced(error):
                    raise
                time.sleep(pause_s)
        raise RuntimeError("unreachable: the last attempt returns or raises")


def _raced(error: BaseException) -> bool:
    """Whether another process made the same tables at the same moment."""
    cause = error.__cause__ if isinstance(error, LedgerError) else error
    return isinstance(cause, sa.exc.IntegrityError) or "already exists" in str(cause)


def _printable(text: str) -> str:
    """`text` as every database takes it: no NUL, nothing that UTF-8 cannot say."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
