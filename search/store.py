"""The ledger: Optuna's tables and our own in one database. What is not in it did not happen.

Only the driver writes, one short transaction for each fact. SQLite by default, any database that
SQLAlchemy and Optuna know by URL.
"""

import json
import os
import socket
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa

from datasets.errors import UserError

_metadata = sa.MetaData()

_studies = sa.Table(
    "chorale_studies",
    _metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),  # "running", "interrupted", "complete"
    sa.Column("fingerprint", sa.Text, nullable=False),  # JSON: what must not change under a study
    sa.Column("holder", sa.String(255)),  # who runs it now: host:pid
    sa.Column("created_utc", sa.String(40), nullable=False),
    sa.Column("spent_s", sa.Float, nullable=False),  # wall time of all its runs so far
)
_trials = sa.Table(
    "chorale_trials",
    _metadata,
    sa.Column("study", sa.String(255), primary_key=True),
    sa.Column("stage", sa.String(20), primary_key=True),  # "search" or "finalists"
    sa.Column("key", sa.String(60), primary_key=True),  # the number; "number/fold/seed"
    sa.Column("state", sa.String(20), nullable=False),  # "COMPLETE", "PRUNED", "FAIL"
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),  # JSON: architecture, metrics, costs
)
_looks = sa.Table(
    "chorale_looks",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study", sa.String(255), nullable=False),
    sa.Column("split", sa.String(64), nullable=False),
    sa.Column("looked_utc", sa.String(40), nullable=False),
)


@dataclass(frozen=True)
class Row:
    """One finished training run, as the ledger keeps it. `facts` is JSON-ready."""

    key: str
    state: str
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


class Ledger:
    """One database that holds any number of studies."""

    def __init__(self, url: str) -> None:
        """Opens the ledger, making its tables where they are missing.

        Raises:
            UserError: the URL is none, or the database cannot be reached or written.
        """
        self.url = url
        try:
            parsed = sa.make_url(url)
            if parsed.get_backend_name() == "sqlite" and parsed.database:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            self.engine = sa.create_engine(parsed)
            _metadata.create_all(self.engine)
            self.optuna = optuna.storages.RDBStorage(url)
        except (sa.exc.SQLAlchemyError, sqlite3.Error, ImportError, OSError) as error:
            cause = str(error).splitlines()[0]
            raise UserError(
                f"the ledger '{url}' cannot be opened: {cause}; "
                f"give a database that can be written with --store sqlite:///FOLDER/chorale.db"
            ) from None

    def close(self) -> None:
        """Lets go of the database."""
        self.optuna.engine.dispose()
        self.engine.dispose()

    def studies(self) -> list[str]:
        """The names of all studies."""
        with self.engine.connect() as c:
            return sorted(c.execute(sa.select(_studies.c.name)).scalars())

    def state(self, study: str) -> str | None:
        """Its state, "running", "interrupted" or "complete"; None where there is no such study."""
        row = self._study(study)
        return None if row is None else str(row.state)

    def create(self, study: str, fingerprint: Mapping[str, Any]) -> None:
        """Opens a new study, held by this process.

        Raises:
            UserError: a study of that name exists.
        """
        row = self._study(study)
        if row is not None:
            raise UserError(
                f"study '{study}' exists already ({row.state}); continue it with --resume, or start"
                f" another with --name {study}-2"
            )
        with self.engine.begin() as c:
            c.execute(
                _studies.insert().values(
                    name=study,
                    state="running",
                    fingerprint=json.dumps(fingerprint, sort_keys=True),
                    holder=_me(),
                    created_utc=_now(),
                    spent_s=0.0,
                )
            )

    def reopen(self, study: str, fingerprint: Mapping[str, Any]) -> None:
        """Takes up a study that exists.

        Raises:
            UserError: there is none, another process holds it, or what it was started with
                (dataset, split, space, seed) is not what it would be continued with.
        """
        row = self._study(study)
        if row is None:
            raise UserError(f"there is no study '{study}' to resume; start it without --resume")
        if row.state == "running" and _alive(row.holder) and row.holder != _me():
            raise UserError(
                f"study '{study}' is being run by {row.holder}; wait for it, or end that process"
            )
        before = json.loads(row.fingerprint)
        now = json.loads(json.dumps(fingerprint))
        if changed := sorted(k for k in {*before, *now} if before.get(k) != now.get(k)):
            raise UserError(
                f"study '{study}' was started with another {', another '.join(changed)}; undo the "
                f"change to resume it, or start a new study with --name {study}-2"
            )
        self._update(study, state="running", holder=_me())

    def leave(self, study: str, state: str, *, spent_s: float) -> None:
        """Lets go of a study; `spent_s` is the wall time of this run."""
        total = self.spent_s(study) + spent_s
        self._update(study, state=state, holder=None, spent_s=total)

    def spent_s(self, study: str) -> float:
        """Wall time of all earlier runs of the study."""
        row = self._study(study)
        return 0.0 if row is None else float(row.spent_s)

    def record(self, study: str, stage: str, row: Row) -> None:
        """Writes how a training run ended; a second time replaces the first."""
        where = (_trials.c.study == study, _trials.c.stage == stage, _trials.c.key == row.key)
        with self.engine.begin() as c:
            c.execute(_trials.delete().where(*where))
            c.execute(
                _trials.insert().values(
                    study=study,
                    stage=stage,
                    key=row.key,
                    state=row.state,
                    reason=row.reason,
                    facts=json.dumps(dict(row.facts)),
                )
            )

    def rows(self, study: str, stage: str) -> dict[str, Row]:
        """Every recorded run of a stage, by its key."""
        query = sa.select(_trials).where(_trials.c.study == study, _trials.c.stage == stage)
        with self.engine.connect() as c:
            return {
                r.key: Row(r.key, r.state, r.reason, json.loads(r.facts)) for r in c.execute(query)
            }

    def look(self, study: str, split: str) -> int:
        """Counts one look at a locked test set; gives how often it has been looked at by now."""
        with self.engine.begin() as c:
            c.execute(_looks.insert().values(study=study, split=split, looked_utc=_now()))
            query = sa.select(sa.func.count()).where(_looks.c.split == split)
            return int(c.execute(query).scalar_one())

    def _study(self, study: str) -> Any:
        with self.engine.connect() as c:
            return c.execute(sa.select(_studies).where(_studies.c.name == study)).first()

    def _update(self, study: str, **values: Any) -> None:
        with self.engine.begin() as c:
            c.execute(_studies.update().where(_studies.c.name == study).values(**values))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _me() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _alive(holder: str | None) -> bool:
    """Whether the process that holds a study still runs; on another machine we must believe so."""
    if not holder:
        return False
    host, _, pid = holder.rpartition(":")
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
