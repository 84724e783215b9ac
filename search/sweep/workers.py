"""Chooses who trains: processes of this machine, a private Ray, a cluster, or this very process."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chorale.cluster import machine
from chorale.cluster.base import ClusterError, Resources, Runner
from chorale.cluster.connection.addresses import AUTO, LOCAL, PROCESSES
from chorale.cluster.environment import in_job
from chorale.datasets.chunks import CHUNK_TRACKS, ChunkMap
from chorale.search import collecting
from chorale.search.config.schema import Cluster

IN_PROCESS = "none"
"""The address that needs no Ray: one trial after the other in this process, for pdb."""

PRELOADED = (
    "chorale.lightning_models.patches.lean_lightning",  # before anything else imports Lightning
    "chorale.search.training.run_trial",
    "chorale.lightning_models.training.fit",
    "chorale.datasets.store.feature_store",
    "chorale.search.config.space",
)
"""What workers on this machine need: imported once, while tracks are still being read."""


FEW_TRACKS = 2 * CHUNK_TRACKS
"""So many are read in less time than it takes to start processes that read them."""


@dataclass(frozen=True)
class Workers:
    """Those who train, and how many trials they train at once with which resources each.

    `sized` says that a trial may take less of a GPU than `resources`, by what it needs.
    `mapping` gives, for the time of a block, a map like the builtin one, ordered and lazy, over as
    many processes: for extraction.
    """

    runner: Runner
    mapping: Callable[[], AbstractContextManager[ChunkMap]]
    trials_at_once: int
    resources: Resources
    sized: bool = False


@contextmanager
def workers(cluster: Cluster, *, runs: Path) -> Iterator[Workers]:
    """Starts or joins them; at the end of the block they are let go.

    Trials read and write in `runs`, which the nodes of a joined cluster may see or not.

    Raises:
        ClusterError: they cannot be had.
    """
    collecting.as_usual()
    if cluster.address == IN_PROCESS:
        from chorale.cluster.local import LocalRunner

        _refuse_several(cluster)
        resources = Resources(cpus=cluster.cpus_per_trial)
        alone: Callable[[], AbstractContextManager[ChunkMap]] = lambda: nullcontext(map)  # noqa: E731
        yield Workers(LocalRunner(), alone, trials_at_once=1, resources=resources)
        return
    if _address(cluster) == PROCESSES:
        with _processes(cluster) as crew:
            yield crew
        return
    # Imported here, so that a sweep without Ray does not wait for it.
    from chorale.cluster.connection.connect import connect, n_slots
    from chorale.cluster.doctor import doctor
    from chorale.cluster.local_workers.fork_client import forks
    from chorale.cluster.transfer.folders import all_nodes_see, shared
    from chorale.cluster.transfer.maps import process_map, ray_map
    from chorale.cluster.tune.runner import TuneRunner

    address = _address(cluster)
    local = address == LOCAL
    preload = ("chorale.cluster.local_workers.proxy_actor",)
    with (
        forks(PRELOADED) if local else nullcontext() as socket,
        connect(address, preload=preload, allow_no_token=cluster.allow_no_token) as size,
        tempfile.TemporaryDirectory(prefix="chorale-") as scratch,
        nullcontext() if local else shared(runs) as folder,
    ):
        if not local:
            doctor.quick()
        resources = trial_resources(cluster, size)
        wanted = cluster.trials_at_once
        at_once = max(1, n_slots(resources)) if wanted == "auto" else wanted
        stall = cluster.stall_minutes
        runner = TuneRunner(
            resources,
            max_concurrent=None if wanted == "auto" else wanted,
            storage=Path(scratch),
            elastic=cluster.autoscaling,
            stall_s=None if stall is None else 60 * stall,
            folder=folder,
            forks=socket,
        )
        mapping: Callable[[], AbstractContextManager[ChunkMap]]
        if folder is None:
            # A task would use up the worker processes that have PyTorch loaded and wait for trials.
            mapping = partial(process_map, max(1, int(size.cpus)))
        elif all_nodes_see(folder):
            mapping = ray_map
        else:  # features are made where the audio is
            mapping = partial(process_map, machine.n_cpus())
        sized = cluster.gpus_per_trial == "auto" and resources.gpus == 1
        yield Workers(runner, mapping, at_once, resources, sized)


@contextmanager
def _processes(cluster: Cluster) -> Iterator[Workers]:
    """Processes of this machine; none of them trains on a GPU, or together with others."""
    from chorale.cluster.local_workers.fork_client import forks
    from chorale.cluster.local_workers.runner import ProcessRunner
    from chorale.cluster.transfer.maps import process_map

    _refuse_several(cluster)
    if cluster.gpus_per_trial not in ("auto", 0):
        raise ClusterError(
            f"without Ray nothing shares out GPUs, but got cluster.gpus_per_trial="
            f"{cluster.gpus_per_trial:g}; use --cluster.address local, or leave it out"
        )
    n_cpus = machine.n_cpus()
    resources = Resources(cpus=cluster.cpus_per_trial)
    if cluster.cpus_per_trial > n_cpus:
        raise ClusterError(
            f"a trial needs {cluster.cpus_per_trial} CPUs, but this machine has {n_cpus}; let it "
            f"take less: --cluster.cpus_per_trial {n_cpus}"
        )
    room = n_cpus // cluster.cpus_per_trial
    at_once = room if cluster.trials_at_once == "auto" else min(room, cluster.trials_at_once)
    stall_s = None if cluster.stall_minutes is None else 60 * cluster.stall_minutes
    with forks(PRELOADED) as socket:
        if socket is None:
            raise ClusterError(
                "processes without Ray are forked, which only Linux can; type: "
                "--cluster.address local"
            )
        runner = ProcessRunner(resources, n_at_once=at_once, forks=socket, stall_s=stall_s)
        yield Workers(runner, partial(process_map, n_cpus), at_once, resources)


@contextmanager
def extraction(cluster: Cluster, *, runs: Path, n_tracks: int) -> Iterator[ChunkMap]:
    """A map for tracks alone, where nothing is trained: it needs a Ray only where one is named.

    Few tracks are done in this process before others would have started.

    Raises:
        ClusterError: the cluster that is named cannot be had.
    """
    address = _address(cluster)
    if address == IN_PROCESS or (address in (LOCAL, PROCESSES) and n_tracks <= FEW_TRACKS):
        yield map
    elif address in (LOCAL, PROCESSES):
        from chorale.cluster.transfer.maps import process_map

        with process_map(machine.n_cpus()) as run:
            yield run
    else:
        with workers(cluster, runs=runs) as crew, crew.mapping() as run:
            yield run


def _address(cluster: Cluster) -> str:
    """Where nothing was said: the cluster of the job; on a machine alone, no Ray if none is needed.

    Ray shares out GPUs, and joins the processes of one trial.
    """
    if cluster.address:
        return cluster.address
    if in_job():
        return AUTO
    gpus = cluster.gpus_per_trial
    needs_ray = (
        cluster.autoscaling
        or cluster.workers_per_trial not in ("auto", 1)
        or (machine.may_have_gpu() if gpus == "auto" else gpus > 0)
        or sys.platform != "linux"  # elsewhere nothing can be forked
    )
    return LOCAL if needs_ray else PROCESSES


def trial_resources(cluster: Cluster, size: Resources) -> Resources:
    """What one trial takes, and in how many processes, on a cluster of that size.

    Raises:
        ClusterError: the numbers do not go together.
    """
    gpus = _gpus(cluster, size)
    if gpus > 1 and gpus != int(gpus):
        raise ClusterError(
            f"a trial takes a part of one GPU or several whole ones, but got "
            f"cluster.gpus_per_trial={gpus:g}; write {int(gpus)} or {int(gpus) + 1}"
        )
    for_gpus = max(1, int(gpus))
    wanted = for_gpus if cluster.workers_per_trial == "auto" else cluster.workers_per_trial
    if gpus and wanted != for_gpus:
        raise ClusterError(
            f"each GPU of a trial has one process, but got cluster.workers_per_trial={wanted} and "
            f"cluster.gpus_per_trial={gpus:g}; leave workers_per_trial out, or write {for_gpus}"
        )
    return Resources(cluster.cpus_per_trial * wanted, gpus, wanted)


def _refuse_several(cluster: Cluster) -> None:
    several = [
        f"cluster.{name}={value}"
        for name in ("workers_per_trial", "gpus_per_trial")
        if (value := getattr(cluster, name)) != "auto" and value > 1
    ]
    if several:
        raise ClusterError(
            f"without Ray one process trains each trial, but got {', '.join(several)}; use "
            f"--cluster.address local, or leave it out"
        )


def _gpus(cluster: Cluster, size: Resources) -> float:
    """A whole GPU for each process of a trial where there are any, unless told otherwise."""
    if cluster.gpus_per_trial != "auto":
        return cluster.gpus_per_trial
    if not size.gpus:
        return 0.0
    return 1.0 if cluster.workers_per_trial == "auto" else float(cluster.workers_per_trial)
