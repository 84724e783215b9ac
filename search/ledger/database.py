"""The database under the ledger: SQLite or PostgreSQL, how it is written, and its errors.

A durable transaction is on the disk when `write` returns, with all that was written before it. A
quick one survives the death of this process at once, and a power cut as soon as a durable one
follows. Every failure becomes a `LedgerError` of one line.
"""

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import sqlalchemy as sa

from chorale.cluster.versions import install_extra
from chorale.datasets.errors import UserError
from chorale.search import interrupts
from chorale.search.ledger.file_systems import is_local
from chorale.search.ledger.places import cause_at

T = TypeVar("T")

BUSY_S = 30.0
"""How long SQLite waits for another process that writes; `?timeout=1` in the URL changes it."""
CONNECT_S = 10
"""How long a PostgreSQL server may take to answer; `?connect_timeout=30` in the URL changes it."""
RETRY_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Pauses between attempts where a PostgreSQL server that was there is gone, in seconds."""
FAILURES = (sa.exc.SQLAlchemyError, sqlite3.Error, OSError)
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
HINTS = {
    "is a folder": "name a file in it",
    "not a folder": "name another",
    "cannot be written": "make it writable",
    "full": "make room on its disk",
    "space left": "make room on its disk",
    "readonly": "make the file and its folder writable",
    "read-only": "make it writable",
    "permission denied": "ask for the right to write there",
    "locked": "another program keeps it locked; close that",
    "not a database": "the file is something else or damaged; restore a copy",
    "malformed": "it is damaged; restore a copy",
    "i/o error": "its disk is full or failing; make room or mend it",
    "authentication failed": "mind the user and the password (PGPASSWORD or ~/.pgpass)",
    "no password": "give it (PGPASSWORD or ~/.pgpass)",
    "refused": "start the server, or mind the host and port",
    "timeout expired": "the server does not answer; mind the host and port",
    "does not exist": "make it (createdb), or mind its name",
}

_log = logging.getLogger(__name__)


class LedgerError(UserError):
    """The ledger cannot be opened, read or written; its cause is kept. What it has, it keeps."""


class Database:
    """One database, by URL: `write` and `read` run a function with a connection."""

    def __init__(self, url: str) -> None:
        """Parses the URL; connects to nothing.

        Raises:
            LedgerError: the URL is none, or is of a database or driver that is not there.
        """
        self.shown = url
        try:
            parsed = sa.make_url(url)
            self.shown = parsed.render_as_string(hide_password=True)
            if parsed.drivername in DRIVERS:
                parsed = parsed.set(drivername=DRIVERS[parsed.drivername])
            self.url = parsed
            self.is_sqlite = parsed.get_backend_name() == "sqlite"
            if parsed.get_backend_name() not in ("sqlite", "postgresql"):
                raise self._unusable(f"'{parsed.get_backend_name()}' is no database for a ledger")
            if self.is_sqlite and (not parsed.database or parsed.database == ":memory:"):
                raise self._unusable("an SQLite ledger needs a file")
            self._timeout_s = float(str(self.url.query.get("timeout", BUSY_S)))
            self._durable = self._engine(durable=True)
            self._quick = self._engine(durable=False)
            self._reading = self._reader()
        except ImportError as error:
            missing = f"its driver is missing ({error}); type: {install_extra('postgres')}"
            raise LedgerError(f"the ledger '{self.shown}' cannot be opened: {missing}, or "
                              f"{_elsewhere()}") from error  # fmt: skip
        except (*FAILURES, ValueError) as error:
            raise self._unusable(_cause(error)) from error

    @property
    def path(self) -> Path | None:
        """The file of an SQLite ledger."""
        return Path(str(self.url.database)) if self.is_sqlite else None

    def write(
        self, work: Callable[[sa.Connection], T], *, durable: bool = True, verb: str = "written"
    ) -> T:
        """Runs `work` in a transaction of its own, whole or not at all.

        Where a server that was there is gone it is waited for, and `work` may run a second time;
        not so where `verb`, what errors say, is "opened" or "beaten".

        Raises:
            LedgerError: it could not be written; nothing of it is there.
        """
        engine = self._durable if durable else self._quick
        return self._tried(engine, work, verb=verb, patient=verb == "written")

    def read(self, work: Callable[[sa.Connection], T], *, verb: str = "read") -> T:
        """Runs `work`, which only reads.

        Raises:
            LedgerError: it could not be read.
        """
        return self._tried(self._reading, work, verb=verb, patient=verb == "read")

    def now_s(self, c: sa.Connection) -> float:
        """Seconds by a clock that all who share the database share."""
        if self.is_sqlite:
            return time.time()
        return float(
            c.execute(sa.text("select extract(epoch from clock_timestamp())")).scalar_one()
        )

    def options(self, *, durable: bool) -> dict[str, Any]:
        """What SQLAlchemy has to know to make an engine of this database."""
        if not self.is_sqlite:
            patience = {} if "connect_timeout" in self.url.query else {"connect_timeout": CONNECT_S}
            return {"pool_pre_ping": True, "connect_args": patience}
        path = Path(str(self.url.database))
        wal = is_local(path)
        return {
            "creator": lambda: _open_to_write(path, self._timeout_s, wal=wal, durable=durable),
            "poolclass": sa.pool.QueuePool,
        }

    def reading_options(self) -> dict[str, Any]:
        """`options` of an engine that the database lets write nothing."""
        if not self.is_sqlite:
            read_only = {"options": "-c default_transaction_read_only=on"}
            return {"pool_pre_ping": True, "connect_args": read_only}
        path = Path(str(self.url.database)).absolute()
        return {
            "creator": lambda: _open_to_read(path, self._timeout_s),
            "poolclass": sa.pool.QueuePool,
        }

    def close(self) -> None:
        """Lets go of all connections."""
        for engine in (self._durable, self._quick, self._reading):
            engine.dispose()

    def error(self, verb: str, error: BaseException) -> LedgerError:
        """What a person is told of a failure: "cannot be written: disk is full; make room ..."."""
        cause = cause_at(self.path, _cause(error))
        found = (hint for words, hint in HINTS.items() if words in cause.lower())
        said = next(found, "mend that")
        if verb == "opened":
            return LedgerError(f"the ledger '{self.shown}' cannot be opened: {cause}; {said}, or "
                               f"{_elsewhere()}")  # fmt: skip
        kept = "" if verb == "read" else "; all that was recorded before is kept"
        return LedgerError(
            f"the ledger '{self.shown}' cannot be {verb}: {cause}{kept}; {said}, "
            f"then go on with: chorale resume STUDY"
        )

    def _unusable(self, cause: str) -> LedgerError:
        return LedgerError(f"the ledger '{self.shown}' cannot be opened: {cause}; {_elsewhere()}")

    def _tried(
        self, engine: sa.Engine, work: Callable[[sa.Connection], T], *, verb: str, patient: bool
    ) -> T:
        pauses_s = iter(RETRY_S if patient and not self.is_sqlite else ())
        while True:
            try:
                with interrupts.transaction(), engine.begin() as c:
                    return work(c)
            except FAILURES as error:
                pause_s = next(pauses_s, None) if _passing(error) else None
                if pause_s is None:
                    raise self.error(verb, error) from error
                _log.warning("the ledger '%s' does not answer; trying again", self.shown)
                time.sleep(pause_s)

    def _engine(self, *, durable: bool) -> sa.Engine:
        if not self.is_sqlite:
            engine = sa.create_engine(self.url, **self.options(durable=durable))
            if not durable:
                # The server answers before its disk does; a durable commit waits for both.
                _on_begin(engine, "SET LOCAL synchronous_commit TO off")
            return engine
        engine = sa.create_engine(self.url, **self.options(durable=durable))

        def prepare(dbapi: Any, _record: object) -> None:
            dbapi.isolation_level = None  # transactions are begun by `_on_begin`

        sa.event.listen(engine, "connect", prepare)
        # A transaction that begins by reading could not become a writing one behind another's back.
        _on_begin(engine, "BEGIN IMMEDIATE")
        return engine

    def _reader(self) -> sa.Engine:
        if not self.is_sqlite:
            options = self.options(durable=False)
            return sa.create_engine(self.url, isolation_level="AUTOCOMMIT", **options)
        options = self.reading_options()
        return sa.create_engine("sqlite://", **options, isolation_level="AUTOCOMMIT")


def _open_to_write(path: Path, timeout_s: float, *, wal: bool, durable: bool) -> sqlite3.Connection:
    opened = sqlite3.connect(path, timeout=timeout_s, check_same_thread=False)
    try:
        wal = wal and _write_ahead(opened)
        # Without a write-ahead log less than FULL may harm the whole file.
        opened.execute(f"PRAGMA synchronous={'NORMAL' if wal and not durable else 'FULL'}")
    except sqlite3.Error:
        opened.close()
        raise
    return opened


def _open_to_read(path: Path, timeout_s: float) -> sqlite3.Connection:
    """A connection that never makes a file or a table, also in a folder that cannot be written."""
    name = quote(str(path))
    opened = sqlite3.connect(f"file:{name}?mode=ro", uri=True, timeout=timeout_s,
                             check_same_thread=False)  # fmt: skip
    try:
        opened.execute("select 1 from sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        opened.close()
        # Reading a write-ahead log needs a file beside it; where no log is, nobody writes either.
        beside = [Path(f"{path}-{kind}").exists() for kind in ("wal", "journal")]
        if any(beside) or not path.exists() or "locked" in str(error):
            raise
        name = f"file:{name}?mode=ro&immutable=1"
        return sqlite3.connect(name, uri=True, check_same_thread=False)
    return opened


def _write_ahead(dbapi: sqlite3.Connection) -> bool:
    """Turns the write-ahead log on; whether it is on. It stays on for the file's life."""
    for _ in range(20):
        try:
            return str(dbapi.execute("PRAGMA journal_mode=WAL").fetchone()[0]) == "wal"
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):  # SQLite does not wait here by itself
                raise
            time.sleep(0.05)
    return str(dbapi.execute("PRAGMA journal_mode").fetchone()[0]) == "wal"


def _on_begin(engine: sa.Engine, statement: str) -> None:
    sa.event.listen(engine, "begin", lambda c: c.exec_driver_sql(statement))


def _passing(error: BaseException) -> bool:
    """Whether it may pass by itself: a server that is started again, a network that is down."""
    return isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)


def _cause(error: BaseException) -> str:
    orig = getattr(error, "orig", None) or error
    lines = str(orig).strip().splitlines()
    return lines[0].rstrip(";. ") if lines else type(orig).__name__


def _elsewhere() -> str:
    return "give a database that can be written with --store sqlite:///FOLDER/chorale.db"
