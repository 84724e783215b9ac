"""Which seeds of finalists are complete: those with every fold."""

from chorale.search.ledger.reader import Row
from chorale.search.ledger.stages import complete_seeds


def test_a_seed_is_complete_where_every_fold_is() -> None:
    states = {
        "3/0/0": "COMPLETE", "3/1/0": "COMPLETE",
        "3/0/1": "COMPLETE", "3/1/1": "PRUNED",
        "3/0/2": "COMPLETE", "3/1/2": "COMPLETE",
        "12/0/0": "COMPLETE",
        "4/0/0": "COMPLETE", "4/1/0": "FAIL",
    }  # fmt: skip
    rows = {key: Row(key, state) for key, state in states.items()}
    assert complete_seeds(rows, 2) == {3: (0, 2)}
    assert complete_seeds({}, 2) == {}
