"""The lease of a study: only the process that holds it may write, so one at a time runs a study.

`search.ledger.ledger.Ledger` acquires and releases leases with this; each of its write transactions
checks the lease, and counts as a heartbeat.
"""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from chorale.datasets.errors import UserError
from chorale.search.ledger import tables
from chorale.search.ledger.database import Database, LedgerError
from chorale.search.ledger.heartbeat import Heartbeat
from chorale.search.ledger.owner import Owner


class Lease:
    """The lease that this process holds, if any, and its heartbeat."""

    def __init__(self, database: Database) -> None:
        """Holds no lease yet."""
        self._database = database
        self.study: str | None = None
        self.token = ""
        self._heartbeat: Heartbeat | None = None

    def acquire(self, study: str, token: str) -> None:
        """Starts the heartbeat of a lease of `study` that the database already records.

        `token` is unique to this lease.
        """
        self.release()
        self.study, self.token = study, token
        self._heartbeat = Heartbeat(self._renew)

    def release(self) -> None:
        """Stops the heartbeat and forgets the lease; the database is not changed."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self.study = self._heartbeat = None

    def guard(self, c: sa.Connection) -> None:
        """Checks and renews the lease, as a part of a transaction.

        Raises:
            LedgerError: another process has the lease now, so nothing may be written.
        """
        if self.study is None:
            return
        t = tables.studies
        mine = (t.c.name == self.study, t.c.sitting == self.token)
        beat_s = self._database.now_s(c)
        if c.execute(t.update().where(*mine).values(beat_s=beat_s)).rowcount == 0:
            row = study_row(c, self.study)
            by = "nobody: its row was deleted" if row is None else row.holder or "another process"
            raise LedgerError(
                f"study '{self.study}' was taken over by {by}; this process stops, and what it "
                f"recorded is kept"
            )

    def _renew(self) -> None:
        # A heartbeat may fail: the search's next write fails in the same way, and ends the sweep.
        with contextlib.suppress(LedgerError):
            self._database.write(self.guard, durable=False, verb="renewed")


def lease_columns(
    database: Database,
    c: sa.Connection,
    token: str,
    about: Mapping[str, Any] | None,
    *,
    before_s: float,
) -> dict[str, Any]:
    """The columns that give this process the lease of a study, held for `before_s` seconds."""
    me, now_s = Owner.current(), database.now_s(c)
    columns = {} if about is None else {"about": json.dumps(dict(about))}
    return columns | {
        "state": "running",
        "holder": me.name,
        "holder_process": me.process,
        "sitting": token,
        "sat_down_s": now_s - before_s,
        "beat_s": now_s,
    }


def study_row(c: sa.Connection, study: str, *, lock: bool = False) -> Any:
    """A study's row, or None; `lock` locks it until this transaction ends."""
    query = sa.select(tables.studies).where(tables.studies.c.name == study)
    return c.execute(query.with_for_update() if lock else query).first()


def refuse_changed(study: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses to resume a study with another dataset, split, space or seed than it began with.

    Raises:
        UserError: names what differs.
    """
    now = json.loads(json.dumps(now))
    if changed := sorted(k for k in {*before, *now} if before.get(k) != now.get(k)):
        raise UserError(
            f"study '{study}' was started with another {', another '.join(changed)}; undo the "
            f"change to resume it, or start a new study with --name {study}-2"
        )
