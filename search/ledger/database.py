"""The ledger's database, SQLite or PostgreSQL: connections, transactions and one-line errors.

A durable transaction is on disk when `write` returns, with everything that was written before it. A
quick one survives a crash of this process at once, and a power cut only after the next durable one.
Every failure becomes a `LedgerError` of one line.
"""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import sqlalchemy as sa

from chorale.cluster.versions import install_extra_command
from chorale.datasets.errors import UserError
from chorale.search import interrupts
from chorale.search.ledger.file_systems import is_local
from chorale.search.ledger.observer import LedgerObserver
from chorale.search.ledger.places import explain_cause

T = TypeVar("T")

BUSY_S = 30.0
"""How long SQLite waits for another writing process; `?timeout=1` in the URL changes it."""
LOG_BUSY_S = 1.0
"""How long the end of a command waits for other processes that read the ledger."""
CONNECT_S = 10
"""How long a PostgreSQL server may take to answer; `?connect_timeout=30` in the URL changes it."""
RETRY_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Pauses between retries where a PostgreSQL server no longer answers, in seconds."""
DATABASE_ERRORS = (sa.exc.SQLAlchemyError, sqlite3.Error, OSError)
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
HINTS = {
    "is a folder": "name a file in it",
    "not a folder": "name another",
    "cannot be written": "make it writable",
    "full": "free some space on its disk",
    "space left": "free some space on its disk",
    "readonly": "make the file and its folder writable",
    "read-only": "make it writable",
    "permission denied": "ask for write permission there",
    "locked": "another program has locked it; close that program",
    "not a database": "the file is something else or damaged; restore a backup",
    "malformed": "it is damaged; restore a backup",
    "i/o error": "its disk is full or failing; free some space or repair it",
    "authentication failed": "check the user and the password (PGPASSWORD or ~/.pgpass)",
    "no password": "give it (PGPASSWORD or ~/.pgpass)",
    "refused": "start the server, or check the host and port",
    "timeout expired": "the server does not answer; check the host and port",
    "does not exist": "create it (createdb), or check its name",
}

_log = logging.getLogger(__name__)


class LedgerError(UserError):
    """The ledger cannot be opened, read or written; `__cause__` is the original error."""


class Database:
    """One database, by URL: `write` and `read` run a function with a connection."""

    def __init__(self, url: str, *, observer: LedgerObserver | None = None) -> None:
        """Parses the URL, without connecting; `observer` gets the duration of each `write`.

        Raises:
            LedgerError: the URL is invalid, or names an unsupported database or a missing driver.
        """
        self.shown, self._observer = url, observer
        try:
            parsed = sa.make_url(url)
            self.shown = parsed.render_as_string(hide_password=True)
            if parsed.drivername in DRIVERS:
                parsed = parsed.set(drivername=DRIVERS[parsed.drivername])
            self.url = parsed
            self.is_sqlite = parsed.get_backend_name() == "sqlite"
            if parsed.get_backend_name() not in ("sqlite", "postgresql"):
                raise self._unusable(f"'{parsed.get_backend_name()}' is not supported as a ledger")
            if self.is_sqlite and (not parsed.database or parsed.database == ":memory:"):
                raise self._unusable("an SQLite ledger needs a file")
            self._timeout_s = float(str(self.url.query.get("timeout", BUSY_S)))
            self._durable = self._engine(durable=True)
            self._quick = self._engine(durable=False)
            self._reading = self._reader()
        except ImportError as error:
            missing = f"its driver is missing ({error}); type: {install_extra_command('postgres')}"
            raise LedgerError(f"the ledger '{self.shown}' cannot be opened: {missing}, or "
                              f"{_elsewhere()}") from error  # fmt: skip
        except (*DATABASE_ERRORS, ValueError) as error:
            raise self._unusable(_cause(error)) from error

    @property
    def path(self) -> Path | None:
        """The file of an SQLite ledger; None for PostgreSQL."""
        return Path(str(self.url.database)) if self.is_sqlite else None

    def write(
        self, work: Callable[[sa.Connection], T], *, durable: bool = True, verb: str = "written"
    ) -> T:
        """Runs `work` in a transaction of its own, atomically.

        A lost connection to a server is retried, so `work` may run twice; but not where `verb`, the
        word in error messages, is "opened" or "renewed".

        Raises:
            LedgerError: it could not be written; the transaction was rolled back.
        """
        engine = self._durable if durable else self._quick
        began = time.perf_counter()
        found = self._with_retries(engine, work, verb=verb, patient=verb == "written")
        if self._observer is not None:
            self._observer.committed(time.perf_counter() - began, durable=durable)
        return found

    def read(self, work: Callable[[sa.Connection], T], *, verb: str = "read") -> T:
        """Runs `work`, which only reads.

        Raises:
            LedgerError: it could not be read.
        """
        return self._with_retries(self._reading, work, verb=verb, patient=verb == "read")

    def now_s(self, c: sa.Connection) -> float:
        """Seconds, by a clock shared by all users of the database."""
        if self.is_sqlite:
            return time.time()
        return float(
            c.execute(sa.text("select extract(epoch from clock_timestamp())")).scalar_one()
        )

    def options(self, *, durable: bool) -> dict[str, Any]:
        """The arguments of SQLAlchemy's `create_engine` for this database."""
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
        """`options` of a read-only engine, enforced by the database."""
        if not self.is_sqlite:
            read_only = {"options": "-c default_transaction_read_only=on"}
            return {"pool_pre_ping": True, "connect_args": read_only}
        path = Path(str(self.url.database)).absolute()
        return {
            "creator": lambda: _open_to_read(path, self._timeout_s),
            "poolclass": sa.pool.QueuePool,
        }

    def close(self) -> None:
        """Closes all connections."""
        for engine in (self._durable, self._quick, self._reading):
            engine.dispose()

    def empty_log(self) -> None:
        """Moves SQLite's write-ahead log into the file, as far as other processes' reads allow it.

        Then a copy of the file alone holds everything.
        """
        if self.path is None:
            return
        uri = f"{_uri(self.path)}?mode=rw"
        try:
            with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=LOG_BUSY_S)) as opened:
                opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:  # nothing is lost: the log is read with the file
            _log.debug("the log of '%s' stays beside it: %s", self.shown, error)

    def error(self, verb: str, error: BaseException) -> LedgerError:
        """The error for a failure: "cannot be written: disk is full; free some space ..."."""
        cause = explain_cause(self.path, _cause(error))
        hints = (hint for words, hint in HINTS.items() if words in cause.lower())
        hint = next(hints, "fix that")
        if verb == "opened":
            return LedgerError(f"the ledger '{self.shown}' cannot be opened: {cause}; {hint}, or "
                               f"{_elsewhere()}")  # fmt: skip
        kept = "" if verb == "read" else "; everything recorded before is kept"
        return LedgerError(
            f"the ledger '{self.shown}' cannot be {verb}: {cause}{kept}; {hint}, "
            f"then continue with: chorale resume STUDY"
        )

    def _unusable(self, cause: str) -> LedgerError:
        return LedgerError(f"the ledger '{self.shown}' cannot be opened: {cause}; {_elsewhere()}")

    def _with_retries(
        self, engine: sa.Engine, work: Callable[[sa.Connection], T], *, verb: str, patient: bool
    ) -> T:
        pauses_s = iter(RETRY_PAUSES_S if patient and not self.is_sqlite else ())
        while True:
            try:
                with interrupts.deferred(), engine.begin() as c:
                    return work(c)
            except DATABASE_ERRORS as error:
                pause_s = next(pauses_s, None) if _is_transient(error) else None
                if pause_s is None:
                    raise self.error(verb, error) from error
                _log.warning("the ledger '%s' does not answer; retrying", self.shown)
                time.sleep(pause_s)

    def _engine(self, *, durable: bool) -> sa.Engine:
        if not self.is_sqlite:
            engine = sa.create_engine(self.url, **self.options(durable=durable))
            if not durable:
                # The server answers before it has written to disk; a durable commit waits for that.
                _on_begin(engine, "SET LOCAL synchronous_commit TO off")
            return engine
        engine = sa.create_engine(self.url, **self.options(durable=durable))

        def prepare(dbapi: Any, _record: object) -> None:
            dbapi.isolation_level = None  # `_on_begin` begins transactions

        sa.event.listen(engine, "connect", prepare)
        # A deferred transaction that reads first could not be upgraded after another one's write.
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
        # Without a write-ahead log, less than FULL may corrupt the file.
        opened.execute(f"PRAGMA synchronous={'NORMAL' if wal and not durable else 'FULL'}")
    except sqlite3.Error:
        opened.close()
        raise
    return opened


def _open_to_read(path: Path, timeout_s: float) -> sqlite3.Connection:
    """A connection that never creates a file or table; it works in a read-only folder, too."""
    opened = sqlite3.connect(f"{_uri(path)}?mode=ro", uri=True, timeout=timeout_s,
                             check_same_thread=False)  # fmt: skip
    try:
        opened.execute("select 1 from sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        opened.close()
        # Reading a write-ahead log needs a file beside it; without a log there is no writer either.
        beside = [Path(f"{path}-{kind}").exists() for kind in ("wal", "journal")]
        if any(beside) or not path.exists() or "locked" in str(error):
            raise
        name = f"{_uri(path)}?mode=ro&immutable=1"
        return sqlite3.connect(name, uri=True, check_same_thread=False)
    return opened


def _uri(path: Path) -> str:
    """The SQLite URI of a file, without its parameters."""
    return f"file:{quote(str(path))}"


def _write_ahead(dbapi: sqlite3.Connection) -> bool:
    """Turns the write-ahead log on, which the file keeps; returns whether it is on."""
    for _ in range(20):
        try:
            return str(dbapi.execute("PRAGMA journal_mode=WAL").fetchone()[0]) == "wal"
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):  # SQLite's timeout does not apply here
                raise
            time.sleep(0.05)
    return str(dbapi.execute("PRAGMA journal_mode").fetchone()[0]) == "wal"


def _on_begin(engine: sa.Engine, statement: str) -> None:
    sa.event.listen(engine, "begin", lambda c: c.exec_driver_sql(statement))


def _is_transient(error: BaseException) -> bool:
    """Whether it may be transient: a restarting server, a network that is down."""
    return isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)


def _cause(error: BaseException) -> str:
    orig = getattr(error, "orig", None) or error
    lines = str(orig).strip().splitlines()
    return lines[0].rstrip(";. ") if lines else type(orig).__name__


def _elsewhere() -> str:
    return "give a writable database with --store sqlite:///FOLDER/chorale.db"
