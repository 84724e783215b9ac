"""The nodes of the connected cluster: their resources, room for trials, and why dead ones died."""

import ray

from chorale.cluster.base import ClusterError, Resources


def cluster_resources() -> Resources:
    """The CPUs and GPUs of all alive nodes of the connected cluster."""
    sizes = node_resources()
    if not sizes:
        raise ClusterError("the cluster has no node with a CPU; look at it with: ray status")
    return Resources(sum(node.cpus for node in sizes), sum(node.gpus for node in sizes))


def node_resources() -> list[Resources]:
    """The resources of each alive node with a CPU of the connected cluster."""
    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Resources(r["CPU"], r.get("GPU", 0.0)) for r in found if r.get("CPU")]


def n_slots(trial: Resources) -> int:
    """How many trials that need `trial` fit on the cluster at once.

    The processes of one trial may run on several nodes.
    """
    return sum(_n_slots(trial.per_worker, node) for node in node_resources()) // trial.workers


def _n_slots(trial: Resources, node: Resources) -> int:
    by_cpus = int(node.cpus / trial.cpus + 1e-9)
    if not trial.gpus:
        return by_cpus
    # A fraction must fit on one GPU: two trials of 0.4 fit on each, and no fifth one across two.
    per_gpu = int(1 / trial.gpus + 1e-9)
    by_gpus = int(node.gpus) * per_gpu if per_gpu else int(node.gpus / trial.gpus + 1e-9)
    return min(by_cpus, by_gpus)


def death_reasons() -> str:
    """Why the connected cluster's dead nodes died, in Ray's words; empty if none did."""
    found = [node.get("DeathReasonMessage") for node in ray.nodes() if not node["Alive"]]
    return "; ".join(
        dict.fromkeys(" ".join(reason.split()).rstrip(".") for reason in found if reason)
    )
