"""The worker pool: processes of this machine, a private Ray, a Ray cluster, or this process."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from chorale.cluster import machine
from chorale.cluster.base import ClusterError, Resources, Runner
from chorale.cluster.connection.addresses import AUTO_ADDRESS, LOCAL_ADDRESS, PROCESSES_ADDRESS
from chorale.cluster.environment import in_ray_job
from chorale.datasets.chunks import CHUNK_TRACKS, ChunkMap
from chorale.search import garbage_collection
from chorale.search.config.schema import ClusterConfig

IN_PROCESS = "none"
"""The address without Ray and without processes: trials run one by one in here, for pdb."""

PRELOADED = (
    "chorale.lightning_models.patches.lean_lightning",  # before anything else imports Lightning
    "chorale.search.training.run_trial",
    "chorale.lightning_models.training.fit",
    "chorale.datasets.store.feature_store",
    "chorale.search.config.space",
)
"""Modules that the fork server imports once, while tracks are still being read."""


FEW_TRACKS = 2 * CHUNK_TRACKS
"""Up to so many tracks are read faster in this process than processes start."""


@dataclass(frozen=True)
class WorkerPool:
    """Workers: how they run trials, how many at once, and with which resources each.

    `sized` is true where a trial may get a part of a GPU, by its memory. `mapping()` is a context
    manager that gives an ordered, lazy, parallel `map`, for feature extraction.
    """

    runner: Runner
    mapping: Callable[[], AbstractContextManager[ChunkMap]]
    trials_at_once: int
    resources: Resources
    sized: bool = False


@contextmanager
def worker_pool(cluster: ClusterConfig, *, runs: Path) -> Iterator[WorkerPool]:
    """Starts the workers, or connects to a cluster; at the end of the block they are released.

    Trials read and write in `runs`, which the nodes of a cluster may share or not.

    Raises:
        ClusterError: there are no such workers.
    """
    garbage_collection.collect_normally()
    address = _address(cluster)
    if address == IN_PROCESS:
        from chorale.cluster.local import LocalRunner

        _refuse_several(cluster)
        resources = Resources(cpus=cluster.cpus_per_trial)
        alone: Callable[[], AbstractContextManager[ChunkMap]] = lambda: nullcontext(map)  # noqa: E731
        yield WorkerPool(LocalRunner(), alone, trials_at_once=1, resources=resources)
        return
    if address == PROCESSES_ADDRESS:
        with _processes(cluster) as pool:
            yield pool
        return
    # imported here: a sweep without Ray does not import it
    from chorale.cluster.connection.connect import connect
    from chorale.cluster.connection.nodes import n_slots
    from chorale.cluster.doctor import doctor
    from chorale.cluster.local_workers.fork_client import fork_server
    from chorale.cluster.transfer.folders import all_nodes_see_folder, share_folder
    from chorale.cluster.transfer.maps import process_map, ray_map
    from chorale.cluster.tune.runner import TuneRunner

    local = address == LOCAL_ADDRESS
    preload = ("chorale.cluster.local_workers.proxy_actor",)
    with (
        fork_server(PRELOADED) if local else nullcontext() as socket,
        connect(address, preload=preload, allow_no_token=cluster.allow_no_token) as size,
        tempfile.TemporaryDirectory(prefix="chorale-") as scratch,
        nullcontext() if local else share_folder(runs) as folder,
    ):
        if not local:
            doctor.quick_check()
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
            fork_socket=socket,
        )
        mapping: Callable[[], AbstractContextManager[ChunkMap]]
        if folder is None:
            # Ray tasks would occupy the workers that have PyTorch imported for trials.
            mapping = partial(process_map, max(1, int(size.cpus)))
        elif all_nodes_see_folder(folder):
            mapping = ray_map
        else:  # features are extracted where the audio is
            mapping = partial(process_map, machine.n_cpus())
        sized = cluster.gpus_per_trial == "auto" and resources.gpus == 1
        yield WorkerPool(runner, mapping, at_once, resources, sized)


@contextmanager
def _processes(cluster: ClusterConfig) -> Iterator[WorkerPool]:
    """Forked processes of this machine: no GPU, one process a trial."""
    from chorale.cluster.local_workers.fork_client import fork_server
    from chorale.cluster.local_workers.runner import ProcessRunner
    from chorale.cluster.transfer.maps import process_map

    _refuse_several(cluster)
    if cluster.gpus_per_trial not in ("auto", 0):
        raise ClusterError(
            f"GPUs need Ray, but got cluster.gpus_per_trial="
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
    with fork_server(PRELOADED) as socket:
        if socket is None:
            raise ClusterError(
                "processes without Ray are forked, which only Linux can; type: "
                "--cluster.address local"
            )
        runner = ProcessRunner(resources, n_at_once=at_once, fork_socket=socket, stall_s=stall_s)
        yield WorkerPool(runner, partial(process_map, n_cpus), at_once, resources)


@contextmanager
def extraction(cluster: ClusterConfig, *, runs: Path, n_tracks: int) -> Iterator[ChunkMap]:
    """A parallel `map` for commands that only read tracks: Ray only where a cluster is named.

    Few tracks are processed in this process.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    address = _address(cluster)
    if address == IN_PROCESS or (
        address in (LOCAL_ADDRESS, PROCESSES_ADDRESS) and n_tracks <= FEW_TRACKS
    ):
        yield map
    elif address in (LOCAL_ADDRESS, PROCESSES_ADDRESS):
        from chorale.cluster.transfer.maps import process_map

        with process_map(machine.n_cpus()) as run:
            yield run
    else:
        with worker_pool(cluster, runs=runs) as pool, pool.mapping() as run:
            yield run


def _address(cluster: ClusterConfig) -> str:
    """The address; by default the cluster of the Ray job, else no Ray where none is needed.

    Ray is needed for GPUs and for several processes a trial.
    """
    if cluster.address:
        return cluster.address
    if in_ray_job():
        return AUTO_ADDRESS
    gpus = cluster.gpus_per_trial
    needs_ray = (
        cluster.autoscaling
        or cluster.workers_per_trial not in ("auto", 1)
        or (machine.may_have_gpu() if gpus == "auto" else gpus > 0)
        or sys.platform != "linux"  # forking is safe on Linux only
    )
    return LOCAL_ADDRESS if needs_ray else PROCESSES_ADDRESS


def trial_resources(cluster: ClusterConfig, size: Resources) -> Resources:
    """The resources of one trial, and its number of processes, on a cluster of that size.

    Raises:
        ClusterError: the settings contradict each other.
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


def _refuse_several(cluster: ClusterConfig) -> None:
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


def _gpus(cluster: ClusterConfig, size: Resources) -> float:
    """GPUs a trial: as set; by default one for each process where the cluster has any."""
    if cluster.gpus_per_trial != "auto":
        return cluster.gpus_per_trial
    if not size.gpus:
        return 0.0
    return 1.0 if cluster.workers_per_trial == "auto" else float(cluster.workers_per_trial)
