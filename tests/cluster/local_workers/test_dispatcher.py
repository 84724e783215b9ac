"""The dispatcher's replies to messages that bypass Ray, tested without Ray or processes."""

import pickle
from collections.abc import Mapping, Sequence

import pytest

from chorale.cluster.base import Decision, End, Failure, Outcome, Resources, TrialSpec
from chorale.cluster.local_workers.dispatcher import Dispatcher
from chorale.cluster.messages import ProgressReport, TrialEnded

BIG = Resources(cpus=2.0)
FINISHED = TrialEnded(pickle.dumps(Outcome(End.FINISHED, 1.0)), discard_process=False)
OUT_OF_MEMORY = TrialEnded(
    pickle.dumps(Outcome(End.FAILED, None, "out of memory", "", Failure.OUT_OF_MEMORY)),
    discard_process=True,
)


class Script:
    """Trials in a fixed order, and a log of the calls."""

    def __init__(self, *resources: Resources | None) -> None:
        self.specs = [TrialSpec(i, resources=size) for i, size in enumerate(resources)]
        self.calls: list[str] = []
        self.broken: Exception | None = None

    def ask(self, n: int) -> list[TrialSpec]:
        if self.broken is not None:
            raise self.broken
        given, self.specs = self.specs[:n], self.specs[n:]
        self.calls += [f"ask {spec.trial_id}" for spec in given]
        return given

    def done(self) -> bool:
        return not self.specs

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        self.calls.append(f"report {trial_id}")
        return Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        self.calls.append(f"tell {trial_id} {outcome.end.value}")


def started(script: Script, *run_ids: str) -> Dispatcher:
    """A dispatcher whose first trials run under these run ids."""
    dispatcher = Dispatcher(script, n_at_once=max(1, len(run_ids)))
    for run_id in run_ids:
        assert dispatcher.ask(run_id) is not None
    dispatcher.n_waiting = 0  # as the controller sets it once they have a worker
    return dispatcher


def sent_trial(reply: object) -> tuple[str, int]:
    """The run id and the trial id of a reply that holds a trial."""
    assert isinstance(reply, bytes)
    run_id, spec = pickle.loads(reply)
    return run_id, spec.trial_id


def test_the_next_trial_goes_to_the_same_process_after_the_last_outcome_was_reported() -> None:
    script = Script(None, None, None)
    dispatcher = started(script, "a")
    assert dispatcher.reply("a", ProgressReport(1, {})) is Decision.CONTINUE
    assert sent_trial(dispatcher.reply("a", FINISHED)) == ("a", 1)
    dispatcher.reply("a", ProgressReport(1, {}))
    assert sent_trial(dispatcher.reply("a", FINISHED)) == ("a", 2)
    assert dispatcher.reply("a", FINISHED) is None  # no trial is left
    assert script.calls == [
        *("ask 0", "report 0", "tell 0 finished"),
        *("ask 1", "report 1", "tell 1 finished"),
        *("ask 2", "tell 2 finished"),
    ]
    assert dispatcher.is_done()


def test_a_process_lost_in_a_series_fails_the_trial_that_it_was_training() -> None:
    script = Script(None, None)
    dispatcher = started(script, "a")
    dispatcher.reply("a", FINISHED)
    dispatcher.lose("a", RuntimeError("lost"))
    assert script.calls[-1] == "tell 1 failed"
    assert dispatcher.reply("a", FINISHED) is None  # a late message
    assert script.calls[-1] == "tell 1 failed"


def test_a_process_to_be_discarded_gets_no_other_trial() -> None:
    script = Script(None, None)
    dispatcher = started(script, "a")
    assert dispatcher.reply("a", OUT_OF_MEMORY) is None
    assert script.calls == ["ask 0", "tell 0 failed"]


def test_a_stalled_process_gets_no_other_trial() -> None:
    script = Script(None, None)
    dispatcher = started(script, "a")
    assert dispatcher.newly_stalled("a", stall_s=0.0)
    assert dispatcher.reply("a", FINISHED) is None
    assert script.calls == ["ask 0", "tell 0 finished"]


def test_a_trial_that_waits_for_a_worker_comes_before_the_next_of_a_series() -> None:
    script = Script(None, None, None)
    dispatcher = started(script, "a", "b")
    dispatcher.n_waiting = 1
    assert dispatcher.reply("a", FINISHED) is None
    dispatcher.n_waiting = 0
    assert sent_trial(dispatcher.reply("b", FINISHED)) == ("b", 2)


@pytest.mark.parametrize("sizes", [(None, BIG), (BIG, None)])
def test_a_trial_with_other_resources_is_kept_for_a_process_that_has_them(
    sizes: Sequence[Resources | None],
) -> None:
    script = Script(*sizes)
    dispatcher = started(script, "a")
    assert dispatcher.reply("a", FINISHED) is None
    assert script.done()
    assert not dispatcher.is_done()  # the trial was asked for, but has not run
    assert dispatcher.has_room()
    assert sent_trial(dispatcher.ask("b")) == ("b", 1)
    assert dispatcher.resources("b") == sizes[1]
    assert dispatcher.is_done()


def test_an_error_raised_by_the_trials_ends_the_series_and_the_run() -> None:
    script = Script(None, None)
    dispatcher = started(script, "a")
    script.broken = ValueError("the ledger is broken")
    assert dispatcher.reply("a", FINISHED) is None
    assert dispatcher.error is script.broken


class StartError(RuntimeError):
    """Has the attribute of Ray's own error."""

    actor_init_failed = True


def test_only_failed_starts_in_a_row_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chorale.cluster.local_workers.dispatcher.MAX_FAILED_STARTS", 2)
    dispatcher = started(Script(*[None] * 4), "a", "b", "c", "d")
    dispatcher.lose("a", StartError("no memory"))
    dispatcher.end("b", FINISHED)
    dispatcher.lose("c", StartError("no memory"))
    assert dispatcher.error is None
    dispatcher.lose("d", StartError("no memory"))
    assert "2 workers in a row could not start; worker lost: " in str(dispatcher.error)
