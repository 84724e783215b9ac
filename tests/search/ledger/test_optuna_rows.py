"""Reading Optuna's own tables without Optuna, on SQLite and on PostgreSQL."""

import json
import math
import time

import optuna
import sqlalchemy as sa

from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.reader import LedgerReader


def _ledger(url: str) -> Ledger:
    ledger = Ledger(url)
    for name in ("a", "b"):
        ledger.create(name, {})
        study = optuna.create_study(study_name=name, storage=ledger.optuna, direction="maximize")
        for number in range(2):
            trial = study.ask()
            trial.suggest_float("lr", 1e-4, 1e-2, log=True)
            trial.report(number + 0.5, 2)
            trial.report(number + 0.25, 1)
            trial.report(math.nan, 3)
            trial.report(math.inf, 4)
        ledger.flush()
    return ledger


def test_reports_times_and_distributions_are_those_of_one_study(ledger_url: str) -> None:
    before_s = time.time()
    ledger = _ledger(ledger_url)
    reader = LedgerReader(ledger_url)
    try:
        times = reader.times("a")
        assert times.keys() == {0, 1}
        assert before_s <= times[0] <= times[1] <= time.time()
        assert reader.times("none") == {}
        expected = {0: [(1, 0.25), (2, 0.5)], 1: [(1, 1.25), (2, 1.5)]}
        assert reader.reports("a") == expected, "finite ones, in order"
        found = reader.distributions("a")
        assert json.loads(found["lr"])["attributes"]["log"] is True
        assert reader.reports("none") == {}
        assert reader.distributions("none") == {}
    finally:
        reader.close()
        ledger.close()


def test_reading_the_number_of_test_looks_adds_none(ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    ledger.create("a", {})
    reader = LedgerReader(ledger_url)
    try:
        assert [reader.n_looks_of(["a"]), reader.n_looks_of(["a"])] == [0, 0]
        ledger.count_test_look("a", "split")
        assert (reader.n_looks_of(["a"]), reader.n_looks_of(["b"])) == (1, 0)
    finally:
        reader.close()
        ledger.close()


def test_a_ledger_without_optunas_tables_has_no_reports(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/chorale.db"
    ledger = Ledger(url)
    ledger.create("a", {})
    with sa.create_engine(url).begin() as c:
        for table in ("trial_params", "trial_intermediate_values"):
            c.execute(sa.text(f"drop table {table}"))
    assert ledger.reports("a") == {}
    assert ledger.distributions("a") == {}
    ledger.close()
