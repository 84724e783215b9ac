"""The schema of the ledger's own tables, with its version and migration.

Optuna's tables are in the same database. A ledger of an older version is upgraded when it is
opened; one of a newer version is refused.
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
    sa.Column("holder", sa.String(255)),  # the lease's owner: host:pid
    sa.Column("created_utc", sa.String(40), nullable=False),
    sa.Column("spent_s", sa.Float, nullable=False),  # wall time of all sessions that ended
    # since version 2
    sa.Column("holder_process", sa.Text),  # tells the owner from a later process of its pid
    sa.Column("sitting", sa.String(40)),  # the lease's token, new for each session
    sa.Column("sat_down_s", sa.Float),  # start of this session, by the database's clock
    sa.Column("beat_s", sa.Float),  # the owner's last heartbeat, by the database's clock
    sa.Column("about", sa.Text),  # JSON: description of a study (dataset, objective, budget)
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
def upsert_statement(
    table: Any, dialect: str, keys: tuple[str, ...], columns: tuple[str, ...]
) -> Any:
    """An upsert: an INSERT of `columns` that replaces the row of the same `keys`.

    Cached, as building the statement takes longer than running it.
    """
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    statement = insert(table).values({name: sa.bindparam(name) for name in columns})
    new = {name: statement.excluded[name] for name in columns if name not in keys}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=new)


class NewerSchemaError(Exception):
    """The tables are of a later version, which is `version`."""

    def __init__(self, version: int) -> None:
        """Keeps the version."""
        super().__init__(f"its tables have version {version}, supported here up to {SCHEMA}")
        self.version = version


def version(c: sa.Connection) -> int | None:
    """The version of the ledger's tables; None where they do not exist.

    Raises:
        NewerSchemaError: it is above `SCHEMA`.
    """
    existing = set(sa.inspect(c).get_table_names())
    if schema.name in existing:
        found = c.execute(sa.select(sa.func.max(schema.c.version))).scalar()
        if found is not None:
            if found > SCHEMA:
                raise NewerSchemaError(int(found))
            return int(found)
    return 1 if studies.name in existing else None


def create_or_upgrade(c: sa.Connection) -> None:
    """Creates the tables where they are missing, and upgrades older ones.

    Raises:
        NewerSchemaError: they are of a later version than `SCHEMA`.
    """
    before = version(c)
    metadata.create_all(c)
    if before == 1:
        existing = {column["name"] for column in sa.inspect(c).get_columns(studies.name)}
        for column in studies.columns:
            if column.name not in existing:
                kind = column.type.compile(c.dialect)
                c.exec_driver_sql(f"ALTER TABLE {studies.name} ADD COLUMN {column.name} {kind}")
    # Written in any case, so that a lack of permission or disk space fails at once.
    c.execute(schema.delete())
    c.execute(schema.insert().values(version=SCHEMA))
