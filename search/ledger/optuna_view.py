"""A read-only Optuna storage of a ledger, for Optuna's own tools.

`chorale dashboard` uses it; the database itself refuses any write.
"""

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from chorale.search.ledger.database import DATABASE_ERRORS, Database


def open_view(url: str) -> RDBStorage:
    """Opens an existing ledger; trials that are added later are seen, too.

    Raises:
        LedgerError: it cannot be opened, or holds no trials that this version of Optuna can read.
    """
    database = Database(url)
    # SQLite's options hold the file; braces are doubled, as Optuna formats {SCHEMA_VERSION}
    shown = "sqlite://" if database.is_sqlite else (
        database.url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    )  # fmt: skip
    try:
        return RDBStorage(shown, engine_kwargs=database.reading_options(), skip_table_creation=True)
    except StorageInternalError as error:  # which hides the database's error
        raise database.error("read", error.__cause__ or error) from error
    except (*DATABASE_ERRORS, RuntimeError, AssertionError) as error:
        raise database.error("read", error) from error
    finally:
        database.close()
