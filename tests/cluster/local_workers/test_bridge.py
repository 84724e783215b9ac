"""What a process is told past Ray when its trial has ended, without a Ray or a process."""

import pickle
from collections.abc import Mapping, Sequence

import pytest

from chorale.cluster.base import Decision, End, Failure, Outcome, Resources, TrialSpec
from chorale.cluster.local_workers.bridge import Bridge
from chorale.cluster.messages import Ended, Said

BIG = Resources(cpus=2.0)
FINISHED = Ended(pickle.dumps(Outcome(End.FINISHED, 1.0)), spoilt=False)
SPOILT = Ended(
    pickle.dumps(Outcome(End.FAILED, None, "out of memory", "", Failure.OUT_OF_MEMORY)), spoilt=True
)


class Script:
    """Trials that are given in turn, and what became of them in the order of the calls."""

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


def begun(script: Script, *tune_ids: str) -> Bridge:
    """A bridge whose first trials run under these names."""
    bridge = Bridge(script, n_at_once=max(1, len(tune_ids)))
    for tune_id in tune_ids:
        assert bridge.ask(tune_id) is not None
    bridge.n_waiting = 0  # as the controller says, once they have a place
    return bridge


def given(answer: object) -> tuple[str, int]:
    """Under which name which trial was given."""
    assert isinstance(answer, bytes)
    tune_id, spec = pickle.loads(answer)
    return tune_id, spec.trial_id


def test_the_next_trial_goes_to_the_same_process_after_the_last_one_was_told() -> None:
    script = Script(None, None, None)
    bridge = begun(script, "a")
    assert bridge.answer("a", Said(1, {})) is Decision.CONTINUE
    assert given(bridge.answer("a", FINISHED)) == ("a", 1)
    bridge.answer("a", Said(1, {}))
    assert given(bridge.answer("a", FINISHED)) == ("a", 2)
    assert bridge.answer("a", FINISHED) is None  # there is no other
    assert script.calls == [
        *("ask 0", "report 0", "tell 0 finished"),
        *("ask 1", "report 1", "tell 1 finished"),
        *("ask 2", "tell 2 finished"),
    ]
    assert bridge.is_done()


def test_a_process_that_is_lost_in_a_series_loses_the_trial_that_it_trained_then() -> None:
    script = Script(None, None)
    bridge = begun(script, "a")
    bridge.answer("a", FINISHED)
    bridge.lose("a", RuntimeError("gone"))
    assert script.calls[-1] == "tell 1 failed"
    assert bridge.answer("a", FINISHED) is None  # was still on its way
    assert script.calls[-1] == "tell 1 failed"


def test_a_spoilt_process_gets_no_other_trial() -> None:
    script = Script(None, None)
    bridge = begun(script, "a")
    assert bridge.answer("a", SPOILT) is None
    assert script.calls == ["ask 0", "tell 0 failed"]


def test_a_process_that_is_ended_for_its_silence_gets_no_other_trial() -> None:
    script = Script(None, None)
    bridge = begun(script, "a")
    assert bridge.stalls("a", stall_s=0.0)
    assert bridge.answer("a", FINISHED) is None
    assert script.calls == ["ask 0", "tell 0 finished"]


def test_a_trial_that_waits_for_a_place_comes_before_the_next_of_a_series() -> None:
    script = Script(None, None, None)
    bridge = begun(script, "a", "b")
    bridge.n_waiting = 1
    assert bridge.answer("a", FINISHED) is None
    bridge.n_waiting = 0
    assert given(bridge.answer("b", FINISHED)) == ("b", 2)


@pytest.mark.parametrize("sizes", [(None, BIG), (BIG, None)])
def test_a_trial_of_another_size_is_kept_for_a_process_of_that_size(
    sizes: Sequence[Resources | None],
) -> None:
    script = Script(*sizes)
    bridge = begun(script, "a")
    assert bridge.answer("a", FINISHED) is None
    assert script.done()
    assert not bridge.is_done()  # it was asked for, and is yet to be run
    assert bridge.has_place()
    assert given(bridge.ask("b")) == ("b", 1)
    assert bridge.resources("b") == sizes[1]
    assert bridge.is_done()


def test_an_error_of_the_search_ends_the_series_and_the_run() -> None:
    script = Script(None, None)
    bridge = begun(script, "a")
    script.broken = ValueError("the ledger is gone")
    assert bridge.answer("a", FINISHED) is None
    assert bridge.error is script.broken
