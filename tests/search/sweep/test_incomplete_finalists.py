"""Finalists that did not complete are left out, with a line that names each and its reason."""

from types import SimpleNamespace
from typing import Any

from chorale.search.ledger import stages
from chorale.search.ledger.reader import Row
from chorale.search.ledger.stages import Job
from chorale.search.sweep.finalists_stage import completed_finalists


def test_a_finalist_without_a_row_or_a_reason_is_left_out_and_named() -> None:
    rows = {
        "1/0/0": Row("1/0/0", "COMPLETE"),
        "2/0/0": Row("2/0/0", "FAIL", ""),
        "4/0/0": Row("4/0/0", "FAIL", "worker lost [node 2]"),
    }
    lines: list[str] = []
    context: Any = SimpleNamespace(
        rows=lambda stage: rows if stage == stages.FINALISTS else {},
        progress=SimpleNamespace(stage=lambda stage, line: lines.append(line)),
    )
    jobs = [Job(number, 0, 0) for number in (1, 2, 3, 4)]
    assert completed_finalists(context, jobs) == {1: [Job(1, 0, 0)]}
    assert sorted(lines) == [
        "trial 2 is left out: it did not complete, for an unknown reason",
        "trial 3 is left out: it did not complete, for an unknown reason",
        "trial 4 is left out: worker lost [node 2]",
    ]
