"""Chooses who trains: a private Ray, a Ray cluster that runs, or this very process."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.base import Resources, Runner
from datasets.chunks import ChunkMap
from search.config import Cluster

IN_PROCESS = "none"
"""The address that needs no Ray: one trial after the other in this process, for pdb."""

PRELOADED = ("search.trial", "lightning_models.fit")
"""What each worker of a private Ray imports as it starts, while tracks are still being read."""


@dataclass(frozen=True)
class Workers:
    """Those who train, and how many trials they train at once with which resources each.

    `map` is like the builtin one, ordered and lazy, over the same workers: for extraction.
    """

    runner: Runner
    map: ChunkMap
    trials_at_once: int
    resources: Resources


@contextmanager
def workers(cluster: Cluster) -> Iterator[Workers]:
    """Starts or joins them; at the end of the block they are let go.

    Raises:
        ClusterError: they cannot be had.
    """
    if cluster.address == IN_PROCESS:
        from cluster.local import LocalRunner

        resources = Resources(cpus=cluster.cpus_per_trial)
        yield Workers(LocalRunner(), map, trials_at_once=1, resources=resources)
        return
    # Imported here, so that a sweep without Ray does not wait for it.
    from cluster.connect import connect, n_slots
    from cluster.maps import ray_map
    from cluster.tune import TuneRunner

    with (
        connect(cluster.address, preload=PRELOADED) as size,
        ray_map() as mapped,
        tempfile.TemporaryDirectory(prefix="chorale-") as scratch,
    ):
        resources = Resources(cluster.cpus_per_trial, _gpus(cluster, size))
        wanted = cluster.trials_at_once
        at_once = max(1, n_slots(resources)) if wanted == "auto" else wanted
        runner = TuneRunner(resources, max_concurrent=at_once, storage=Path(scratch))
        yield Workers(runner, mapped, at_once, resources)


def _gpus(cluster: Cluster, size: Resources) -> float:
    """A whole GPU for each trial where there is one, unless told a fraction."""
    wanted = cluster.gpus_per_trial
    if wanted == "auto":
        return 1.0 if size.gpus else 0.0
    return wanted
