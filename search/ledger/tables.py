"""The ledger's own tables and their version; Optuna's stand beside them in the same database.

A ledger of an older version gains what it lacks when it is opened; one of a newer version is
refused, for nobody knows what its rows mean.
"""

import functools
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

SCHEMA = 2
"""The version of these tables. 1 had no version row, no heartbeat and no `about`."""

metadata = sa.MetaData()

schema = sa.Table("chorale_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))
studies = sa.Table(
    "chorale_studies",
    metadata,
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),  # "running", "interrupted", "complete"
    sa.Column("fingerprint", sa.Text, nullable=False),  # JSON: what must not change under a study
    sa.Column("holder", sa.String(255)),  # who runs it now: host:pid
    sa.Column("created_utc", sa.String(40), nullable=False),
    sa.Column("spent_s", sa.Float, nullable=False),  # wall time of all sittings that ended
    # since version 2
    sa.Column("holder_process", sa.Text),  # tells the holder from a later process of its pid
    sa.Column("sitting", sa.String(40)),  # a token: who lost the study does not know the new one
    sa.Column("sat_down_s", sa.Float),  # when this sitting began, by the database's clock
    sa.Column("beat_s", sa.Float),  # the holder's last sign of life, by the database's clock
    sa.Column("about", sa.Text),  # JSON: what people ask of a study (dataset, objective, budget)
)
trials = sa.Table(
    "chorale_trials",
    metadata,
    sa.Column("study", sa.String(255), primary_key=True),
    sa.Column("stage", sa.String(20), primary_key=True),  # "search" or "finalists"
    sa.Column("key", sa.String(60), primary_key=True),  # the number; "number/fold/seed"
    sa.Column("state", sa.String(20), nullable=False),  # "COMPLETE", "PRUNED", "FAIL"
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("facts", sa.Text, nullable=False),  # JSON: architecture, metrics, costs
)
looks = sa.Table(
    "chorale_looks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study", sa.String(255), nullable=False),
    sa.Column("split", sa.String(64), nullable=False),
    sa.Column("looked_utc", sa.String(40), nullable=False),
)


@functools.cache
def replacing(table: Any, dialect: str, keys: tuple[str, ...], columns: tuple[str, ...]) -> Any:
    """An INSERT of `columns` that replaces the row of the same `keys`.

    Made once, for making it takes longer than running it.
    """
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    statement = insert(table).values({name: sa.bindparam(name) for name in columns})
    new = {name: statement.excluded[name] for name in columns if name not in keys}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=new)


class NewerSchemaError(Exception):
    """The tables were made by a later version; `version` is theirs."""

    def __init__(self, version: int) -> None:
        """Keeps the version."""
        super().__init__(f"its tables are of version {version}, known here up to {SCHEMA}")
        self.version = version


def version(c: sa.Connection) -> int | None:
    """The version of the ledger's tables; None where there are none.

    Raises:
        NewerSchemaError: it is above `SCHEMA`.
    """
    there = set(sa.inspect(c).get_table_names())
    if schema.name in there:
        found = c.execute(sa.select(sa.func.max(schema.c.version))).scalar()
        if found is not None:
            if found > SCHEMA:
                raise NewerSchemaError(int(found))
            return int(found)
    return 1 if studies.name in there else None


def prepare(c: sa.Connection) -> None:
    """Makes the tables where they are missing, and brings older ones up to date.

    Raises:
        NewerSchemaError: they are of a later version than `SCHEMA`.
    """
    before = version(c)
    metadata.create_all(c)
    if before == 1:
        there = {column["name"] for column in sa.inspect(c).get_columns(studies.name)}
        for column in studies.columns:
            if column.name not in there:
                kind = column.type.compile(c.dialect)
                c.exec_driver_sql(f"ALTER TABLE {studies.name} ADD COLUMN {column.name} {kind}")
    # Written in any case, so that who may not write, or has no room, hears of it at once.
    c.execute(schema.delete())
    c.execute(schema.insert().values(version=SCHEMA))
