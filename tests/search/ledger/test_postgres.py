"""The ledger on PostgreSQL: lost connections, synchronous commits, Optuna's storage tests."""

from collections.abc import Iterator

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

from chorale.search.ledger import database
from chorale.search.ledger.database import Database, LedgerError
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.reader import LedgerReader

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    opened = Ledger(postgres_url)
    yield opened
    opened.close()


class TestOptunaStorageContract(StorageTestCase):
    @pytest.fixture(scope="class")
    def shared(self, postgres: str) -> Iterator[Ledger]:
        with psycopg.connect(f"host={postgres} user=chorale dbname=postgres", autocommit=True) as c:
            c.execute("create database shared")
        opened = Ledger(f"postgresql+psycopg://chorale@/shared?host={postgres}")
        yield opened
        opened.close()

    @pytest.fixture
    def storage(self, shared: Ledger) -> BaseStorage:
        for study in shared.optuna.get_all_studies():
            shared.optuna.delete_study(study._study_id)
        return shared.optuna

    def test_pickle_storage(self, storage: BaseStorage) -> None:
        pytest.skip("it belongs to one process")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_every_scheme_of_the_url_is_accepted(postgres_url: str, scheme: str) -> None:
    ledger = Ledger(scheme + postgres_url.removeprefix("postgresql+psycopg"))
    ledger.create("a", {})
    assert list(ledger.studies()) == ["a"]
    ledger.close()


def test_optunas_own_storage_reads_the_trials(ledger: Ledger, postgres_url: str) -> None:
    study = optuna.create_study(study_name="a", storage=ledger.optuna, directions=["maximize"])
    for number in range(3):
        trial = study.ask()
        trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        trial.suggest_categorical("optimizer", ["adam", "sgd"])
        trial.report(0.25, 1)
        ledger.record("a", "search", Row(str(number), "COMPLETE"))
        study.tell(trial, 0.5)
    study.ask()
    ledger.flush()
    stored = optuna.load_study(study_name="a", storage=RDBStorage(postgres_url))
    assert [t.state for t in stored.trials] == [TrialState.COMPLETE] * 3 + [TrialState.RUNNING]
    assert [t.params for t in stored.trials] == [t.params for t in study.trials]
    assert [t.datetime_start for t in stored.trials] == [t.datetime_start for t in study.trials]


def test_only_durable_writes_wait_for_the_servers_disk(postgres_url: str) -> None:
    opened = Database(postgres_url)

    def setting(c: sa.Connection) -> str:
        return str(c.exec_driver_sql("show synchronous_commit").scalar_one())

    assert opened.write(setting, durable=True) == "on"
    assert opened.write(setting, durable=False) == "off"
    assert opened.write(setting, durable=True) == "on"
    opened.close()


def _cut(c: sa.Connection) -> None:
    c.exec_driver_sql("select pg_terminate_backend(pg_backend_pid())")


def test_after_a_lost_connection_the_transaction_is_retried_and_done_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "RETRY_PAUSES_S", (0.0, 0.0))
    ledger.create("a", {})
    study = optuna.create_study(study_name="a", storage=ledger.optuna)
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    n_cut = [0]
    guard = ledger.optuna._guard

    def cutting(c: sa.Connection) -> None:
        guard(c)
        if n_cut[0] < 2:
            n_cut[0] += 1
            _cut(c)

    monkeypatch.setattr(ledger.optuna, "_guard", cutting)
    ledger.record("a", "search", Row("0", "COMPLETE"))
    study.tell(trial, 0.5)
    assert n_cut == [2]
    url = ledger._database.url.render_as_string(hide_password=False)
    stored = optuna.load_study(study_name="a", storage=RDBStorage(url))
    assert [t.value for t in stored.trials] == [0.5]
    assert sorted(LedgerReader(url).rows("a", "search")) == ["0"]


def test_a_connection_lost_between_two_transactions_is_reopened(
    ledger: Ledger, postgres_url: str
) -> None:
    ledger.record("a", "search", Row("0", "COMPLETE"))
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as c:
        c.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid != pg_backend_pid()"
        )
    ledger.record("a", "search", Row("1", "COMPLETE"))
    assert sorted(ledger.rows("a", "search")) == ["0", "1"]


def test_the_error_after_the_last_retry_is_one_line(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "RETRY_PAUSES_S", (0.0, 0.0))
    n_tried = [0]

    def work(c: sa.Connection) -> None:
        n_tried[0] += 1
        _cut(c)

    with pytest.raises(LedgerError, match=r"cannot be written: .*chorale resume STUDY") as caught:
        ledger._database.write(work)
    assert n_tried == [3]
    assert "\n" not in str(caught.value)


def test_the_error_for_a_missing_database_is_one_line(postgres: str) -> None:
    with pytest.raises(
        LedgerError, match=r'cannot be opened: .*"nowhere" does not exist'
    ) as caught:
        Ledger(f"postgresql+psycopg://chorale@/nowhere?host={postgres}")
    assert "\n" not in str(caught.value)


def test_a_database_without_a_ledger_is_refused(postgres_url: str) -> None:
    with pytest.raises(LedgerError, match="holds no ledger of Chorale"):
        LedgerReader(postgres_url)


def test_a_user_without_write_permission_can_read(postgres_url: str, postgres: str) -> None:
    ledger = Ledger(postgres_url)
    ledger.record("a", "search", Row("0", "COMPLETE"))
    ledger.close()
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as c:
        name = c.info.dbname.replace("t", "guest_", 1)
        c.execute(f'create role "{name}" login')
        c.execute(f'grant select on all tables in schema public to "{name}"')
    url = postgres_url.replace("chorale@", f"{name}@")
    assert list(LedgerReader(url).rows("a", "search")) == ["0"]
    with pytest.raises(LedgerError, match=r"opened: permission denied .*ask for write permission"):
        Ledger(url)
