"""Read-only access to a ledger, for any process at any time, without Optuna and without a lease.

`search.ledger.ledger.Ledger` adds what only the owner of a study's lease may do.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import sqlalchemy as sa

from chorale.datasets.errors import unknown_name_error
from chorale.search.ledger import optuna_rows, tables
from chorale.search.ledger.database import Database, LedgerError
from chorale.search.ledger.owner import heartbeat_age_s, owner_is_alive, refuse_leased


@dataclass(frozen=True)
class Row:
    """One finished training run in the ledger. `facts` is JSON-ready."""

    key: str
    state: str
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyInfo:
    """One study. `state` is its actual state: "running", "interrupted" or "complete".

    `owner` is the process that runs it, host:pid, or that died while running it; `heartbeat_age_s`
    the age of its last heartbeat. `spent_s` includes the current session. `about` is the sweep's
    description of itself.
    """

    name: str
    state: str
    owner: str | None
    heartbeat_age_s: float | None
    created_utc: str
    spent_s: float
    about: Mapping[str, Any]

    @property
    def died(self) -> bool:
        """Whether its owner ended without releasing the lease."""
        return self.state == "interrupted" and self.owner is not None


class NoLedgerError(LedgerError):
    """There is no ledger there yet."""


class LedgerReader:
    """One database that holds any number of studies, open for reading."""

    def __init__(self, url: str) -> None:
        """Opens an existing ledger.

        Raises:
            LedgerError: there is none, it cannot be read, or a newer Chorale created it.
        """
        self._database = Database(url)
        path = self._database.path
        if path is not None and not path.exists():
            raise NoLedgerError(
                f"there is no ledger '{path}', so no study was run there; start one with: chorale "
                f"sweep, or name another with --runs FOLDER or --store URL"
            )
        try:
            version = self._database.read(tables.version, verb="opened")
            if version is not None and version < tables.SCHEMA:
                self._database.write(tables.create_or_upgrade, verb="opened")
        except tables.NewerSchemaError as error:
            raise newer_schema_error(self._database, error) from error
        if version is None:
            raise NoLedgerError(
                f"the database '{self._database.shown}' holds no ledger of Chorale; start a study "
                f"with: chorale sweep, or name another with --runs FOLDER or --store URL"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    def studies(self) -> list[str]:
        """The names of all studies."""
        query = sa.select(tables.studies.c.name)
        return sorted(self._database.read(lambda c: c.execute(query).scalars().all()))

    def study(self, name: str) -> StudyInfo:
        """One study.

        Raises:
            UserError: there is no study of that name; the error suggests the nearest one.
        """
        found = self._infos(tables.studies.c.name == name)
        if not found:
            raise unknown_name_error("study", name, self.studies() or ["(none yet)"])
        return found[0]

    def all_studies(self) -> list[StudyInfo]:
        """Every study, the newest first."""
        return sorted(self._infos(sa.true()), key=lambda one: one.created_utc, reverse=True)

    def state(self, study: str) -> str | None:
        """The state last written: "running", "interrupted", "complete"; None for no such study."""
        row = self._study(study)
        return None if row is None else str(row.state)

    def refuse_leased(self, study: str) -> None:
        """Refuses early, before long preparations, a study that `Ledger.reopen` would refuse.

        Raises:
            UserError: another process has the study's lease.
        """
        row = self._study(study)
        if row is not None:
            refuse_leased(row, self._database.read(self._database.now_s))

    def fingerprint(self, study: str) -> dict[str, Any]:
        """What a study must be resumed with (dataset, split, ...); empty for no such study."""
        row = self._study(study)
        return {} if row is None else dict(json.loads(row.fingerprint))

    def spent_s(self, study: str) -> float:
        """Wall time of all earlier sessions of the study."""
        row = self._study(study)
        return 0.0 if row is None else float(row.spent_s)

    def rows(self, study: str, stage: str) -> dict[str, Row]:
        """Every recorded run of a stage, by its key."""
        t = tables.trials.c
        query = sa.select(tables.trials).where(t.study == study, t.stage == stage)
        found = self._database.read(lambda c: c.execute(query).all())
        return {r.key: Row(r.key, r.state, r.reason, json.loads(r.facts)) for r in found}

    def n_running(self, study: str) -> int:
        """The number of the search's trials that were asked and have not ended."""
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
        """The reports of each of the search's trials, by number: (epoch, objective) in order."""
        return self._database.read(lambda c: optuna_rows.reports(c, study))

    def times(self, study: str) -> dict[int, float]:
        """When each of the search's trials was asked, by number, in Unix seconds."""
        return self._database.read(lambda c: optuna_rows.times(c, study))

    def distributions(self, study: str) -> dict[str, str]:
        """The distribution of each searched parameter, as Optuna's JSON."""
        return self._database.read(lambda c: optuna_rows.distributions(c, study))

    def n_looks_of(self, studies: Collection[str]) -> int:
        """The number of evaluations of locked test sets by these studies."""
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


def newer_schema_error(database: Database, error: tables.NewerSchemaError) -> LedgerError:
    """The error for a ledger that a later version created."""
    return LedgerError(
        f"the ledger '{database.shown}' was created by a newer Chorale ({error}); upgrade Chorale, "
        f"or keep this study elsewhere with --store sqlite:///FOLDER/chorale.db"
    )


def session_s(row: Any, now_s: float) -> float:
    """The known duration of the current session, or of one whose owner died."""
    if row.state != "running" or row.sat_down_s is None or row.beat_s is None:
        return 0.0
    until_s = now_s if owner_is_alive(row, now_s) else row.beat_s
    return float(max(until_s - row.sat_down_s, 0.0))


def _info(row: Any, now_s: float) -> StudyInfo:
    dead = row.state == "running" and not owner_is_alive(row, now_s)
    return StudyInfo(
        name=row.name,
        state="interrupted" if dead else row.state,
        owner=row.holder,
        heartbeat_age_s=heartbeat_age_s(row, now_s),
        created_utc=row.created_utc,
        spent_s=row.spent_s + session_s(row, now_s),
        about=json.loads(row.about) if row.about else {},
    )
