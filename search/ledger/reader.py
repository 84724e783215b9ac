"""What can be read of a ledger, by anybody and at any time, without Optuna and without a lock.

`search.ledger.ledger.Ledger` adds what only the process that holds a study may do.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from chorale.datasets.errors import unknown
from chorale.search.ledger import optuna_rows, tables
from chorale.search.ledger.database import Database, LedgerError
from chorale.search.ledger.owner import Holder

SEARCH = "search"


@dataclass(frozen=True)
class Row:
    """One finished training run, as the ledger keeps it. `facts` is JSON-ready."""

    key: str
    state: str
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyInfo:
    """One study. `state` is "running", "interrupted" or "complete", as it really is.

    `holder` is who runs it, host:pid, or who did when it died; `beat_age_s` its last sign of life.
    `spent_s` counts the sitting that is under way. `about` holds what the sweep said of itself.
    """

    name: str
    state: str
    holder: str | None
    beat_age_s: float | None
    created_utc: str
    spent_s: float
    about: Mapping[str, Any]

    @property
    def died(self) -> bool:
        """Whether who ran it ended without a word."""
        return self.state == "interrupted" and self.holder is not None


class NoLedgerError(LedgerError):
    """Nobody has made a ledger there yet."""


class LedgerReader:
    """One database that holds any number of studies, open for reading."""

    def __init__(self, url: str) -> None:
        """Opens a ledger that is there.

        Raises:
            LedgerError: there is none, it cannot be read, or a newer Chorale made it.
        """
        self._database = Database(url)
        path = self._database.path
        if path is not None and not path.exists():
            raise NoLedgerError(
                f"there is no ledger '{path}', so no study was run there; start one with: chorale "
                f"sweep, or say where it is with --runs FOLDER or --store URL"
            )
        try:
            version = self._database.read(tables.version, verb="opened")
            if version is not None and version < tables.SCHEMA:
                self._database.write(tables.prepare, verb="opened")
        except tables.NewerSchemaError as error:
            raise newer(self._database, error) from error
        if version is None:
            raise NoLedgerError(
                f"the database '{self._database.shown}' holds no ledger of Chorale; start a study "
                f"with: chorale sweep, or say where it is with --runs FOLDER or --store URL"
            )

    def close(self) -> None:
        """Lets go of the database."""
        self._database.close()

    def studies(self) -> list[str]:
        """The names of all studies."""
        query = sa.select(tables.studies.c.name)
        return sorted(self._database.read(lambda c: c.execute(query).scalars().all()))

    def study(self, name: str) -> StudyInfo:
        """One study.

        Raises:
            UserError: there is none of that name; the nearest is offered.
        """
        found = self._infos(tables.studies.c.name == name)
        if not found:
            raise unknown("study", name, self.studies() or ["(none yet)"])
        return found[0]

    def all_studies(self) -> list[StudyInfo]:
        """Every study, the newest first."""
        return sorted(self._infos(sa.true()), key=lambda one: one.created_utc, reverse=True)

    def state(self, study: str) -> str | None:
        """What was last written: "running", "interrupted", "complete"; None for no such study."""
        row = self._study(study)
        return None if row is None else str(row.state)

    def refuse_held(self, study: str) -> None:
        """Refuses, before long preparations, what `Ledger.reopen` would refuse after them.

        Raises:
            UserError: another process holds the study.
        """
        from chorale.search.ledger.lease import refuse_held  # which needs this file

        row = self._study(study)
        if row is not None:
            refuse_held(row, self._database.read(self._database.now_s))

    def fingerprint(self, study: str) -> dict[str, Any]:
        """What the study was started with and must not change; empty for no such study."""
        row = self._study(study)
        return {} if row is None else dict(json.loads(row.fingerprint))

    def spent_s(self, study: str) -> float:
        """Wall time of all earlier sittings of the study."""
        row = self._study(study)
        return 0.0 if row is None else float(row.spent_s)

    def rows(self, study: str, stage: str) -> dict[str, Row]:
        """Every recorded run of a stage, by its key."""
        t = tables.trials.c
        query = sa.select(tables.trials).where(t.study == study, t.stage == stage)
        found = self._database.read(lambda c: c.execute(query).all())
        return {r.key: Row(r.key, r.state, r.reason, json.loads(r.facts)) for r in found}

    def n_running(self, study: str) -> int:
        """How many trials of the search were asked and have not ended."""
        query = sa.text(
            "select count(*) from trials join studies on trials.study_id = studies.study_id "
            "where studies.study_name = :name and trials.state = 'RUNNING'"
        )

        def count(c: sa.Connection) -> int:
            if not sa.inspect(c).has_table("trials"):
                return 0
            return int(c.execute(query, {"name": study}).scalar_one())

        return self._database.read(count)

    def reports(self, study: str) -> optuna_rows.Reports:
        """What each trial of the search reported, by its number: (epoch, objective) in order."""
        return self._database.read(lambda c: optuna_rows.reports(c, study))

    def distributions(self, study: str) -> dict[str, str]:
        """The range that each parameter was searched in, as Optuna's JSON."""
        return self._database.read(lambda c: optuna_rows.distributions(c, study))

    def n_looks(self, split: str) -> int:
        """How often a locked test set has been looked at by now."""
        query = sa.select(sa.func.count()).where(tables.looks.c.split == split)
        return int(self._database.read(lambda c: c.execute(query).scalar_one()))

    def n_looks_of(self, studies: Collection[str]) -> int:
        """How often these studies have looked at their locked test sets by now."""
        of_them = tables.looks.c.study.in_(list(studies))
        query = sa.select(sa.func.count()).select_from(tables.looks).where(of_them)
        return int(self._database.read(lambda c: c.execute(query).scalar_one()))

    def _study(self, study: str) -> Any:
        query = sa.select(tables.studies).where(tables.studies.c.name == study)
        return self._database.read(lambda c: c.execute(query).first())

    def _infos(self, where: Any) -> list[StudyInfo]:
        query = sa.select(tables.studies).where(where)
        rows, now_s = self._database.read(
            lambda c: (c.execute(query).all(), self._database.now_s(c))
        )
        return [_info(row, now_s) for row in rows]


def newer(database: Database, error: tables.NewerSchemaError) -> LedgerError:
    """The refusal of a ledger that a later version made."""
    return LedgerError(
        f"the ledger '{database.shown}' was made by a newer Chorale ({error}); upgrade Chorale, or "
        f"keep this study elsewhere with --store sqlite:///FOLDER/chorale.db"
    )


def beat_age_s(row: Any, now_s: float) -> float | None:
    """Seconds since the holder's last sign of life."""
    return None if row.beat_s is None else max(now_s - row.beat_s, 0.0)


def holder_lives(row: Any, now_s: float) -> bool:
    """Whether somebody runs the study now."""
    if row.state != "running" or not row.holder:
        return False
    holder = Holder(row.holder, row.holder_process or "")
    return holder.alive(beat_age_s=beat_age_s(row, now_s))


def sitting_s(row: Any, now_s: float) -> float:
    """What the sitting that is under way, or died, has lasted, as far as is known."""
    if row.state != "running" or row.sat_down_s is None or row.beat_s is None:
        return 0.0
    until_s = now_s if holder_lives(row, now_s) else row.beat_s
    return float(max(until_s - row.sat_down_s, 0.0))


def _info(row: Any, now_s: float) -> StudyInfo:
    dead = row.state == "running" and not holder_lives(row, now_s)
    return StudyInfo(
        name=row.name,
        state="interrupted" if dead else row.state,
        holder=row.holder,
        beat_age_s=beat_age_s(row, now_s),
        created_utc=row.created_utc,
        spent_s=row.spent_s + sitting_s(row, now_s),
        about=json.loads(row.about) if row.about else {},
    )
