"""The nodes of a cluster: room for trials on each, and the reason of a node's death."""

import subprocess
import sys

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


@pytest.mark.ray
def test_a_dead_node_has_no_room_and_a_reason() -> None:
    """In a subprocess: Ray ends a node whose agent ended."""
    code = """
import time, psutil
from chorale.cluster.connection.connect import connect
from chorale.cluster.connection.nodes import death_reasons, node_resources
with connect(num_cpus=1):
    assert (len(node_resources()), death_reasons()) == (1, "")
    for process in psutil.Process().children(recursive=True):
        if "DashboardAgent" in " ".join(process.cmdline()):
            process.kill()
    while node_resources():
        time.sleep(0.1)
    print(death_reasons())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "dashboard_agent failed and raylet fate-shares with it\n", done.stderr
