"""The choice of finalists, and their retraining."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chorale.cluster.base import Decision, End, Outcome, Report, TrialSpec
from chorale.cluster.local import LocalRunner
from chorale.search.console.events import StudyListeners
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.stages import FINALISTS, Job
from chorale.search.study.finalist_choice import choose_finalists
from chorale.search.study.finalists import (
    FinalistStage,
    FinalistTrials,
    TimeLimit,
)
from chorale.search.study.trial_outcome import OUT_OF_TIME
from chorale.search.training.trial_plan import TrialResult

SILENT = StudyListeners(())


def _row(number: int, accuracy: float, architecture: str, *, state: str = "COMPLETE") -> Row:
    facts = {
        "architecture": architecture,
        "metrics": {"accuracy": accuracy},
        "params": {"architecture": architecture, "lr": accuracy},
    }
    return Row(str(number), state, "", facts)


def _rows(*rows: Row) -> dict[str, Row]:
    return {row.key: row for row in rows}


def test_the_best_trial_of_every_architecture_comes_before_any_second_one() -> None:
    rows = _rows(_row(0, 0.9, "cnn"), _row(1, 0.8, "cnn"), _row(2, 0.7, "recurrent"))
    assert choose_finalists(rows, n=2, objective="accuracy") == [0, 2]
    assert choose_finalists(rows, n=3, objective="accuracy") == [0, 1, 2]
    assert choose_finalists(rows, n=1, objective="accuracy") == [0]


def test_an_architecture_far_behind_the_best_comes_last() -> None:
    rows = _rows(_row(0, 0.9, "cnn"), _row(1, 0.8, "cnn"), _row(2, 0.3, "recurrent"))
    assert choose_finalists(rows, n=2, objective="accuracy") == [0, 1]
    assert choose_finalists(rows, n=3, objective="accuracy") == [0, 1, 2]
    assert choose_finalists({}, n=3, objective="accuracy") == []


def test_numbers_that_differ_only_in_the_third_digit_are_one_configuration() -> None:
    rows = _rows(_row(0, 0.901, "cnn"), _row(1, 0.9, "cnn"), _row(2, 0.8, "cnn"))
    assert choose_finalists(rows, n=2, objective="accuracy") == [0, 2]


def test_no_two_finalists_have_the_same_parameters() -> None:
    rows = _rows(_row(0, 0.9, "cnn"), _row(1, 0.9, "cnn"), _row(2, 0.7, "cnn"))
    assert choose_finalists(rows, n=2, objective="accuracy") == [0, 2]


def test_of_equal_accuracies_the_lower_calibrated_loss_comes_first() -> None:
    rows = _rows(_row(0, 0.9, "a"), _row(1, 0.9, "a"), _row(2, 0.85, "a"), _row(3, 0.5, "a"))
    for number, loss in enumerate((0.9, 0.5, 0.4, 1.5)):
        params = {"architecture": "a", "number": number}
        facts = rows[str(number)].facts
        assert isinstance(facts, dict)
        facts.update({"calibrated_log_loss": loss, "params": params})
    # ranks 0 + 2, 0 + 1, 2 + 0, 3 + 3: of equal sums the higher accuracy
    assert choose_finalists(rows, n=1, objective="accuracy") == [1]
    assert choose_finalists(rows, n=3, objective="accuracy") == [1, 0, 2]
    assert isinstance(rows["3"].facts, dict)
    del rows["3"].facts["calibrated_log_loss"]  # a trial of an older version: accuracy alone
    assert choose_finalists(rows, n=1, objective="accuracy") == [0]


def test_only_complete_trials_are_chosen() -> None:
    rows = _rows(_row(0, 0.9, "cnn", state="PRUNED"), _row(1, 0.2, "cnn"))
    assert choose_finalists(rows, n=5, objective="accuracy") == [1]


def test_where_time_is_short_trials_far_behind_the_best_are_no_finalists() -> None:
    rows = _rows(_row(0, 0.9, "cnn"), _row(1, 0.3, "recurrent"), _row(2, 0.8, "cnn"))
    assert choose_finalists(rows, n=3, objective="accuracy", only_near=True) == [0, 2]


def test_trials_that_ran_out_of_time_count_by_what_they_had_reached() -> None:
    """The best network of a sweep was stopped after 33 of its 42 epochs, and not used."""
    rows = _rows(_row(0, 0.9, "cnn", state="PRUNED"), _row(1, 0.2, "cnn", state="PRUNED"))
    rows["1"] = Row("1", "PRUNED", OUT_OF_TIME, rows["1"].facts)
    assert choose_finalists(rows, n=5, objective="accuracy") == [1]
    rows |= _rows(_row(2, 0.1, "mlp"), _row(3, 0.3, "recurrent"))
    assert choose_finalists(rows, n=5, objective="accuracy", only_near=True) == [3]
    assert choose_finalists(rows, n=5, objective="accuracy") == [3, 1, 2]


def test_trial_numbers_are_compared_as_numbers() -> None:
    rows = _rows(_row(10, 0.5, "a"), _row(9, 0.5, "b"))
    assert choose_finalists(rows, n=1, objective="accuracy") == [9]


def _result() -> TrialResult:
    proba = np.full((2, 2), 0.5, np.float32)
    return TrialResult(
        {"accuracy": 0.5},
        3,
        10,
        0.1,
        0.05,
        0.2,
        proba,
        valid_embeddings=proba,
        extra_proba=proba,
        extra_embeddings=proba,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'chorale.db'}")


def _finals(kept: list[Job]) -> FinalistStage:
    jobs = [Job(7, fold, 0) for fold in range(3)]

    def keep(job: Job, result: TrialResult) -> None:
        kept.append(job)

    plan: Any = lambda job: job  # noqa: E731
    return FinalistStage("s", jobs, plan, keep, lambda number: {"architecture": "cnn"})


def test_a_failed_job_is_run_again_and_a_complete_one_is_not(ledger: Ledger) -> None:
    kept: list[Job] = []

    def first(spec: TrialSpec, report: Report) -> TrialResult:
        assert report(1, {"accuracy": 0.0}) is Decision.CONTINUE
        if spec.payload["plan"].fold == 1:
            raise RuntimeError("lost")
        return _result()

    LocalRunner().run(FinalistTrials(_finals(kept), ledger, SILENT), first)
    assert [job.fold for job in kept] == [0, 2]
    assert ledger.rows("s", FINALISTS)["7/1/0"].reason == "RuntimeError: lost"

    kept.clear()
    again = FinalistTrials(_finals(kept), ledger, SILENT)
    LocalRunner().run(again, lambda spec, report: _result())
    assert [job.fold for job in kept] == [1]
    assert {row.state for row in ledger.rows("s", FINALISTS).values()} == {"COMPLETE"}


class _Timed:
    """Two finalists of three folds each; a retraining of trial 7 takes 10 s, of trial 8 25 s.

    With `n_further` seeds of each after the first.
    """

    def __init__(
        self,
        ledger: Ledger,
        monkeypatch: pytest.MonkeyPatch,
        *,
        limit_s: float,
        n_further: int = 0,
    ) -> None:
        self.now = 0.0
        self.fails: set[str] = set()
        monkeypatch.setattr("time.perf_counter", lambda: self.now)
        jobs = [Job(number, fold, 0) for number in (8, 7) for fold in range(3)]
        plan: Any = lambda job: SimpleNamespace(job=job, train={"max_epochs": 3})  # noqa: E731
        finals = FinalistStage(
            "s",
            jobs,
            plan,
            lambda *_: None,
            lambda number: {"architecture": "cnn"},
            time_limit=TimeLimit(lambda: limit_s - self.now, self.expected_s, n_at_once=1),
            further=[
                Job(number, fold, seed)
                for seed in range(1, n_further + 1)
                for number in (8, 7)
                for fold in range(3)
            ],
        )
        self.trials = FinalistTrials(finals, ledger, SILENT)

    @staticmethod
    def expected_s(number: int) -> float:
        return 25.0 if number == 8 else 10.0

    def run(self, *, epoch_s: float | None = None) -> dict[str, str]:
        """Runs all; an epoch takes a third of what is expected, or `epoch_s`."""

        def work(spec: TrialSpec, report: Report) -> TrialResult:
            number = spec.payload["plan"].job.number
            if spec.payload["plan"].job.key in self.fails:
                raise RuntimeError("diverged")
            for step in (1, 2, 3):
                self.now += self.expected_s(number) / 3 if epoch_s is None else epoch_s
                if report(step, {"accuracy": 0.5}) is Decision.STOP:
                    break
            return _result()

        LocalRunner().run(self.trials, work)
        return {key: row.state for key, row in self.trials._ledger.rows("s", FINALISTS).items()}


def test_a_finalist_that_would_not_end_in_time_makes_room_for_a_quicker_one(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = _Timed(ledger, monkeypatch, limit_s=60)
    assert timed.run() == dict.fromkeys(["7/0/0", "7/1/0", "7/2/0"], "COMPLETE")
    assert timed.trials.not_started == {8}
    assert timed.now == pytest.approx(30)


def test_at_the_end_of_the_time_a_retraining_is_stopped_before_its_last_epoch_only(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = _Timed(ledger, monkeypatch, limit_s=80)  # 75 s are expected, 180 s would be needed
    assert timed.run(epoch_s=20) == {"8/0/0": "COMPLETE", "8/1/0": "PRUNED", "8/2/0": "PRUNED"}
    rows = ledger.rows("s", FINALISTS)
    assert rows["8/1/0"].reason == OUT_OF_TIME
    assert timed.trials.not_started == {7}


def test_the_first_retrainings_correct_what_later_ones_are_expected_to_take(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = _Timed(ledger, monkeypatch, limit_s=150)  # trial 8 takes 117 s instead of 75
    assert timed.run(epoch_s=13) == dict.fromkeys(["8/0/0", "8/1/0", "8/2/0"], "COMPLETE")
    assert timed.trials.not_started == {7}  # 33 s are left for it, and 47 s would be needed


def test_what_is_stopped_after_half_of_its_epochs_is_used(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Job] = []
    trials = FinalistTrials(
        replace(_finals(kept), plan=_ten_epochs, time_limit=TimeLimit(lambda: 1.0, lambda _: 0, 1)),
        ledger,
        SILENT,
    )
    specs = trials.ask(3)
    for spec, n_epochs in zip(specs, (4, 5, 10), strict=True):
        trials.report(spec.trial_id, n_epochs, {"accuracy": 0.5})
        trials.tell(spec.trial_id, Outcome(End.STOPPED, _result()))
    states = [ledger.rows("s", FINALISTS)[f"7/{fold}/0"].state for fold in range(3)]
    assert states == ["PRUNED", "COMPLETE", "COMPLETE"]
    assert [job.fold for job in kept] == [1, 2]


def _ten_epochs(job: Job) -> Any:
    return SimpleNamespace(job=job, train={"max_epochs": 10})


def test_at_the_last_epoch_nothing_is_stopped(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = _Timed(ledger, monkeypatch, limit_s=75)
    assert set(timed.run().values()) == {"COMPLETE"}


def _complete(*finalists: tuple[int, int]) -> dict[str, str]:
    """All folds of these numbers and seeds."""
    return {f"{n}/{fold}/{seed}": "COMPLETE" for n, seed in finalists for fold in range(3)}


def test_further_seeds_are_trained_round_by_round_while_a_whole_one_fits(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first seeds take 105 s, a further one of trial 8 takes 75 s and of trial 7 30 s."""
    timed = _Timed(ledger, monkeypatch, limit_s=105 + 75 + 30 + 70, n_further=4)
    assert timed.run() == _complete((8, 0), (7, 0), (8, 1), (7, 1), (7, 2), (7, 3))
    assert timed.now == pytest.approx(105 + 75 + 30 + 60)
    assert timed.trials.not_started == set()


def test_no_further_seed_is_trained_of_a_finalist_without_its_first(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = _Timed(ledger, monkeypatch, limit_s=65, n_further=1)
    assert timed.run() == _complete((7, 0), (7, 1))
    assert timed.trials.not_started == {8}


def test_where_time_ends_within_a_further_seed_none_of_its_other_folds_is_begun(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = _Timed(ledger, monkeypatch, limit_s=105, n_further=2)
    timed.run()
    timed = _Timed(ledger, monkeypatch, limit_s=76, n_further=2)  # resumed, on a slower machine
    found = timed.run(epoch_s=24)
    assert found == {
        **_complete((8, 0), (7, 0)), "8/0/1": "COMPLETE", "8/1/1": "PRUNED"
    }  # fmt: skip
    assert timed.trials.not_started == set()
    timed = _Timed(ledger, monkeypatch, limit_s=55, n_further=2)  # resumed again
    assert timed.run() == _complete((8, 0), (7, 0), (8, 1))


def test_a_finalist_whose_further_seed_fails_gets_no_more(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = _Timed(ledger, monkeypatch, limit_s=1e6, n_further=2)
    timed.fails = {"8/1/1"}
    found = timed.run()
    failed = {"8/0/1": "COMPLETE", "8/1/1": "FAIL"}
    assert found == {**_complete((8, 0), (7, 0), (7, 1), (7, 2)), **failed}


def test_what_a_trials_own_retrainings_took_counts_for_its_further_seeds(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch of either trial takes 5 s: 45 s a seed, where 75 and 30 s were expected."""
    timed = _Timed(ledger, monkeypatch, limit_s=90 + 45 + 40, n_further=1)
    assert timed.run(epoch_s=5) == _complete((8, 0), (7, 0), (8, 1))
