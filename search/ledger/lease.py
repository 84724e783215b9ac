"""Holding a study: one process at a time runs it, and who lost it can write no more.

`search.ledger.ledger.Ledger` takes and leaves studies through here; every transaction that it
writes is a sign of life, too.
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
from chorale.search.ledger.owner import Holder
from chorale.search.ledger.reader import beat_age_s, holder_lives


class Hold:
    """Which study this process holds, if any, and the thread that says that it lives."""

    def __init__(self, database: Database) -> None:
        """Holds nothing yet."""
        self._database = database
        self.study: str | None = None
        self.sitting = ""
        self._heartbeat: Heartbeat | None = None

    def take(self, study: str, sitting: str) -> None:
        """The database says that this process runs `study`; `sitting` is its token."""
        self.let_go()
        self.study, self.sitting = study, sitting
        self._heartbeat = Heartbeat(self._beat)

    def let_go(self) -> None:
        """Nothing is held any more, as far as this process is concerned."""
        if self._heartbeat is not None:
            self._heartbeat.stop()
        self.study = self._heartbeat = None

    def guard(self, c: sa.Connection) -> None:
        """A sign of life, as a part of a transaction.

        Raises:
            LedgerError: the study is somebody else's by now, so nothing may be written.
        """
        if self.study is None:
            return
        t = tables.studies
        mine = (t.c.name == self.study, t.c.sitting == self.sitting)
        beat_s = self._database.now_s(c)
        if c.execute(t.update().where(*mine).values(beat_s=beat_s)).rowcount == 0:
            row = study_row(c, self.study)
            by = "nobody: its row is gone" if row is None else row.holder or "another process"
            raise LedgerError(
                f"study '{self.study}' was taken over by {by}; this process stops, and what it had "
                f"recorded is kept"
            )

    def _beat(self) -> None:
        # A beat may be missed: the search's next write meets the same, and ends the sweep.
        with contextlib.suppress(LedgerError):
            self._database.write(self.guard, durable=False, verb="beaten")


def seat(
    database: Database,
    c: sa.Connection,
    sitting: str,
    about: Mapping[str, Any] | None,
    *,
    before_s: float,
) -> dict[str, Any]:
    """The columns that say that this process runs a study, and has for `before_s` seconds."""
    me, now_s = Holder.me(), database.now_s(c)
    said = {} if about is None else {"about": json.dumps(dict(about))}
    return said | {
        "state": "running",
        "holder": me.name,
        "holder_process": me.process,
        "sitting": sitting,
        "sat_down_s": now_s - before_s,
        "beat_s": now_s,
    }


def study_row(c: sa.Connection, study: str, *, lock: bool = False) -> Any:
    """A study's row, or None; `lock` keeps others from changing it before this transaction ends."""
    query = sa.select(tables.studies).where(tables.studies.c.name == study)
    return c.execute(query.with_for_update() if lock else query).first()


def refuse_held(row: Any, now_s: float) -> None:
    """Refuses a study that another process runs.

    Raises:
        UserError: it does.
    """
    mine = Holder(row.holder or "", row.holder_process or "") == Holder.me()
    if mine or not holder_lives(row, now_s):
        return
    age_s = beat_age_s(row, now_s)
    seen = "" if age_s is None else f" (last sign of life {age_s:.0f} s ago)"
    raise UserError(
        f"study '{row.name}' is being run by {row.holder}{seen}; wait for it, or end that process; "
        f"where you are sure that it is gone, add --take-over"
    )


def refuse_changed(study: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses to go on with something else than a study was started with.

    Raises:
        UserError: names what is another.
    """
    now = json.loads(json.dumps(now))
    if changed := sorted(k for k in {*before, *now} if before.get(k) != now.get(k)):
        raise UserError(
            f"study '{study}' was started with another {', another '.join(changed)}; undo the "
            f"change to resume it, or start a new study with --name {study}-2"
        )
