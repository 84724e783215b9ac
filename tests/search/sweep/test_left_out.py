"""Finalists that did not come to their end are left out, whatever is known of why."""

from types import SimpleNamespace
from typing import Any

from chorale.search.ledger import stages
from chorale.search.ledger.reader import Row
from chorale.search.ledger.stages import Job
from chorale.search.sweep.sitting import Sitting


def test_a_finalist_without_a_row_or_a_reason_is_left_out_and_said() -> None:
    rows = {
        "1/0/0": Row("1/0/0", "COMPLETE"),
        "2/0/0": Row("2/0/0", "FAIL", ""),
        "4/0/0": Row("4/0/0", "FAIL", "worker lost [gone]"),
    }
    said: list[str] = []
    sitting: Any = SimpleNamespace(
        ledger=SimpleNamespace(rows=lambda name, stage: rows if stage == stages.FINALISTS else {}),
        sweep=SimpleNamespace(name="s"),
        progress=SimpleNamespace(stage=lambda what, line: said.append(line)),
    )
    jobs = [Job(number, 0, 0) for number in (1, 2, 3, 4)]
    assert Sitting._finished(sitting, jobs) == {1: [Job(1, 0, 0)]}
    assert sorted(said) == [
        "trial 2 is left out: nobody knows why it did not come to its end",
        "trial 3 is left out: nobody knows why it did not come to its end",
        "trial 4 is left out: worker lost \\[gone]",
    ]
