"""The nodes of a cluster: room for trials on each."""

import pytest

from chorale.cluster.base import Resources
from chorale.cluster.connection import nodes


@pytest.mark.parametrize(
    ("trial", "sizes", "n_slots"),
    [
        (Resources(1), [Resources(2), Resources(3)], 5),
        (Resources(2), [Resources(3), Resources(3)], 2),
        (Resources(0.1), [Resources(1)], 10),
        (Resources(1, 1), [Resources(8, 2), Resources(1, 4)], 3),
        (Resources(1, 0.4), [Resources(8, 2)], 4),
        (Resources(1, 2), [Resources(8, 3)], 1),
        (Resources(1, 1), [Resources(8)], 0),
        (Resources(1), [], 0),
    ],
)
def test_n_slots_counts_trials_per_node_and_per_gpu(
    monkeypatch: pytest.MonkeyPatch, trial: Resources, sizes: list[Resources], n_slots: int
) -> None:
    monkeypatch.setattr(nodes, "node_resources", lambda: sizes)
    assert nodes.n_slots(trial) == n_slots
