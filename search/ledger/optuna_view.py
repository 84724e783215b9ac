"""A ledger as Optuna's own tools read it, while nothing of it can be changed.

`chorale dashboard` shows it; whatever a tool tries to write, the database itself refuses.
"""

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from chorale.search.ledger.database import FAILURES, Database


def open_view(url: str) -> RDBStorage:
    """The trials of all studies of a ledger that is there, as they stand and as they come.

    Raises:
        LedgerError: it cannot be opened, or holds no trials that this Optuna can read.
    """
    database = Database(url)
    # of SQLite the options know the file; Optuna fills {SCHEMA_VERSION} in, so braces are doubled
    shown = "sqlite://" if database.is_sqlite else (
        database.url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    )  # fmt: skip
    try:
        return RDBStorage(shown, engine_kwargs=database.reading_options(), skip_table_creation=True)
    except StorageInternalError as error:  # which hides what the database said
        raise database.error("read", error.__cause__ or error) from error
    except (*FAILURES, RuntimeError, AssertionError) as error:
        raise database.error("read", error) from error
    finally:
        database.close()
