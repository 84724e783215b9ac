"""The Optuna storage of the ledger: Optuna's own contract tests, and when it writes."""

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

from chorale.search.ledger.database import LedgerError
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.paths import Runs


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger: creating one takes longer than the tests."""
    path = tmp_path_factory.mktemp("empty") / "chorale.db"
    Ledger(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def ledger(empty: Path, tmp_path: Path) -> Iterator[Ledger]:
    shutil.copy(empty, tmp_path)
    opened = Ledger(f"sqlite:///{tmp_path / 'chorale.db'}")
    yield opened
    opened.close()


class TestOptunaStorageContract(StorageTestCase):
    @pytest.fixture
    def storage(self, ledger: Ledger) -> BaseStorage:
        return ledger.optuna

    def test_pickle_storage(self, storage: BaseStorage) -> None:
        with pytest.raises((TypeError, pickle.PicklingError, AttributeError)):
            pickle.dumps(storage)  # it belongs to one process


def _stored(ledger: Ledger) -> list[optuna.trial.FrozenTrial]:
    """The trials that another program reads with Optuna."""
    storage = RDBStorage(str(ledger.optuna._rdb.url))
    return _known(optuna.load_study(study_name="s", storage=storage))


def _known(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Its trials, without row ids, which differ between memory and database."""
    trials = study.trials
    for trial in trials:
        trial._trial_id = trial.number
    return trials


def _study(ledger: Ledger) -> optuna.Study:
    return optuna.create_study(
        study_name="s", storage=ledger.optuna, direction="maximize", load_if_exists=True
    )


def _suggest(trial: optuna.Trial) -> None:
    trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    trial.suggest_int("n_layers", 1, 9)
    trial.suggest_categorical("optimizer", ["adam", "sgd"])


def test_flush_writes_an_asked_trial_with_all_its_parameters(ledger: Ledger) -> None:
    trial = _study(ledger).ask()
    _suggest(trial)
    assert _stored(ledger) == []
    ledger.flush()
    assert _stored(ledger) == _known(trial.study)
    assert len(trial.params) == 3


def test_a_trial_that_was_not_flushed_is_written_with_its_first_report(
    ledger: Ledger,
) -> None:
    trial = _study(ledger).ask()
    _suggest(trial)
    trial.report(0.5, 1)
    (stored,) = _stored(ledger)
    assert stored.params == trial.params
    assert stored.intermediate_values == {1: 0.5}


def test_every_report_is_written_at_once(ledger: Ledger) -> None:
    trial = _study(ledger).ask()
    for step in (1, 2):
        trial.report(step / 10, step)
        assert _stored(ledger)[0].intermediate_values[step] == step / 10


def test_an_added_trial_is_written_at_once(ledger: Ledger) -> None:
    study = _study(ledger)
    distribution = optuna.distributions.FloatDistribution(0, 1)
    study.add_trial(
        optuna.trial.create_trial(
            state=TrialState.RUNNING, params={"x": 0.5}, distributions={"x": distribution}
        )
    )
    assert _stored(ledger) == _known(study)
    assert _stored(ledger)[0].params == {"x": 0.5}


def test_a_pruners_attributes_are_written_at_once(ledger: Ledger) -> None:
    study = _study(ledger)
    study.pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=2)
    trial = study.ask()
    for step in (1, 2):
        trial.report(0.5, step)
        trial.should_prune()
    (stored,) = _stored(ledger)
    assert stored.intermediate_values == {1: 0.5, 2: 0.5}
    assert "completed_rung_0" in stored.system_attrs


def test_the_end_of_a_trial_is_written_at_once(ledger: Ledger) -> None:
    study = _study(ledger)
    first, second, third = (study.ask() for _ in range(3))
    second.report(0.4, 1)
    study.tell(first, 0.9)
    study.tell(second, state=TrialState.PRUNED)
    study.tell(third, state=TrialState.FAIL)
    stored = _stored(ledger)
    assert stored == _known(study)
    assert [trial.state.name for trial in stored] == ["COMPLETE", "PRUNED", "FAIL"]
    assert [trial.value for trial in stored] == [0.9, 0.4, None]


def test_recording_a_trial_writes_all_pending_changes(ledger: Ledger) -> None:
    trial = _study(ledger).ask()
    _suggest(trial)
    ledger.record("s", "search", Row("0", "COMPLETE"))
    assert _stored(ledger)[0].params == trial.params
    assert not ledger.optuna._pending, "nothing is written twice"


def test_another_process_continues_with_the_same_trials(ledger: Ledger, tmp_path: Path) -> None:
    study = _study(ledger)
    study.enqueue_trial({"lr": 1e-3, "n_layers": 2, "optimizer": "sgd"})
    study.enqueue_trial({"lr": 1e-2, "n_layers": 3, "optimizer": "sgd"})
    done, running = study.ask(), study.ask()
    _suggest(done)
    _suggest(running)
    running.report(0.25, 1)
    study.tell(done, 0.5)
    before = _known(study)
    ledger.close()
    again = Ledger(f"sqlite:///{tmp_path / 'chorale.db'}")
    study = _study(again)
    assert _known(study) == before
    assert [t.state.name for t in study.trials] == ["COMPLETE", "RUNNING"]
    study.tell(1, 0.75)
    new = study.ask()
    _suggest(new)
    again.flush()
    assert _stored(again) == _known(study)
    assert [t.number for t in study.trials] == [0, 1, 2]
    again.close()


def test_changes_that_could_not_be_written_are_written_later_and_once(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(ledger)
    trial = study.ask()
    _suggest(trial)
    trial.report(0.5, 1)
    another = study.ask()
    _suggest(another)

    def full(c: sa.Connection, rows: object) -> None:
        raise sa.exc.OperationalError("insert", {}, Exception("database or disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr("chorale.search.ledger.trial_rows.upsert_rows", full)
        with pytest.raises(LedgerError, match=r"cannot be written: database or disk is full;"):
            study.tell(trial, 0.5)
    assert [t.state.name for t in _stored(ledger)] == ["RUNNING"]
    ledger.flush()
    assert _stored(ledger) == _known(study)
    assert [t.state.name for t in study.trials] == ["COMPLETE", "RUNNING"]


def test_a_commit_whose_reply_was_lost_creates_no_trial_twice(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study(ledger)
    _suggest(study.ask())
    with monkeypatch.context() as patch:
        patch.setattr(ledger.optuna, "flushed", lambda: None)  # as if the reply were lost
        ledger.flush()
    ledger.flush()
    assert _stored(ledger) == _known(study)
    assert len(study.trials) == 1


@pytest.mark.parametrize(
    "name", ["br{ac}es {0} {SCHEMA_VERSION}", "per%20cent", "sp ace'é☃", "what? #1 &x=1"]
)
def test_a_folder_of_any_name_can_hold_a_ledger(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    ledger = Ledger(Runs(folder).ledger_url)
    _study(ledger).ask()
    ledger.record("s", "search", Row("0", "COMPLETE"))
    assert sorted(ledger.rows("s", "search")) == ["0"]
    ledger.close()
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (folder / "chorale.db").is_file()
