"""Looks at every node of a cluster, or at this machine alone, before anything is trained there.

Asks each node through a task that only it can run (`cluster.doctor.node_facts`), and lets
`cluster.doctor.checks` judge the answers.
"""

import contextlib
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chorale.cluster.base import ClusterError
from chorale.cluster.connection import tokens
from chorale.cluster.connection.addresses import gcs_asks, is_loopback, server_asks
from chorale.cluster.connection.tokens import MAKE_ONE
from chorale.cluster.doctor import node_facts
from chorale.cluster.doctor.checks import Check, State, first_failure, judge, packages, rest
from chorale.cluster.doctor.node_facts import Facts, look, shared_file
from chorale.cluster.imports import import_name
from chorale.cluster.versions import FITTING, NAME, required_names, version_of

HERE = "here"
PATIENCE_S = 180.0
QUICK_PATIENCE_S = 30.0
"""How long a node may take to answer; it may have to start a process first."""

START = "RAY_AUTH_MODE=token ray start --head"


def examine(address: str | None, *, folder: str) -> list[Check]:
    """Every check on every node; without an address, on this machine alone.

    Args:
        address: "auto" or HOST:PORT; None: no cluster.
        folder: where studies are kept, which all machines should see.

    Raises:
        ClusterError: there is no cluster at `address`, or its token is not here.
    """
    checks = token()
    if address is None:
        return checks + here(folder)
    from chorale.cluster.connection.connect import connect

    with connect(address, allow_no_token=True):
        return [*checks, *ports(), *_nodes(folder=folder, with_imports=True, patience_s=PATIENCE_S)]


def quick() -> None:
    """The checks that take no second, on every node of the connected cluster.

    Raises:
        ClusterError: one of them failed.
    """
    failed = first_failure(_nodes(folder="", with_imports=False, patience_s=QUICK_PATIENCE_S))
    if failed is not None:
        raise ClusterError(
            f"node {failed.where}: {failed.what}: {failed.said}; mend it with: {failed.mend} "
            f"(all checks: chorale doctor --address auto)"
        )


def here(folder: str) -> list[Check]:
    """Every check on this machine."""
    with _shared(folder) as (place, secret, error):
        facts = look(_names(), place, secret, modules=_modules())
    checks = [packages(HERE, facts), *rest(HERE, facts, folder=place, gpus=0)]
    return checks + _unshared(folder, error)


def token() -> list[Check]:
    """Whether the token on this machine is kept from others."""
    file = tokens.token_file()
    if file is None:
        return [Check(HERE, "token", State.OK, f"in ${tokens.TOKEN}")]
    if not file.is_file():
        mend = f"where you have a cluster of your own: {MAKE_ONE}"
        return [Check(HERE, "token", State.OK, f"none ({file} is missing); {mend}")]
    if tokens.is_open(file):
        said = f"others can read {file}"
        return [Check(HERE, "token", State.FAILED, said, f"chmod 600 {file}")]
    return [Check(HERE, "token", State.OK, f"{file} is read by its owner alone")]


def ports() -> list[Check]:
    """Whether strangers are turned away from the connected cluster: tried without a token."""
    import ray
    from ray._private.worker import global_worker

    gcs = ray.get_runtime_context().gcs_address
    host, _, port = gcs.rpartition(":")
    checks = [_port("control port", gcs, host, asks=gcs_asks(host, int(port)))]
    url = (global_worker.node.address_info or {}).get("webui_url")
    if not url:
        return [*checks, Check("cluster", "job port", State.OK, "no dashboard, so no jobs")]
    at, _, port = url.rpartition(":")
    try:
        asks = server_asks(f"http://{url}")
    except ConnectionError as error:
        said = f"{url} does not answer from here ({error}), so jobs cannot be sent"
        mend = f"ssh -N -L {port}:localhost:{port} {host}"
        return [*checks, Check("cluster", "job port", State.WARNING, said, mend)]
    return [*checks, _port("job port", url, at, asks=asks)]


def _port(what: str, where: str, host: str, *, asks: bool) -> Check:
    if asks:
        return Check("cluster", what, State.OK, f"{where} asks for a token")
    if is_loopback(host):
        said = f"{where} asks for no token, but only this machine reaches it"
        return Check("cluster", what, State.OK, said)
    said = f"whoever reaches {where} can run anything on the cluster: it asks for no token"
    mend = f"{MAKE_ONE}, copy ~/.ray/auth_token to each node, then on the head: ray stop; {START}"
    return Check("cluster", what, State.FAILED, said, mend)


def _nodes(*, folder: str, with_imports: bool, patience_s: float) -> list[Check]:
    """The checks of every node that is alive, in the order of their names."""
    import ray
    from ray import cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    names = _names()
    with _shared(folder) as (place, secret, error), _by_value(cloudpickle):
        task = ray.remote(num_cpus=0, max_retries=0)(look)
        asked: dict[Any, tuple[dict[str, Any], float]] = {}
        for node in sorted(_alive(), key=_name):
            only = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            sent_s = time.time()
            ref = task.options(scheduling_strategy=only).remote(
                names, place, secret, modules=_modules() if with_imports else ()
            )
            asked[ref] = (node, sent_s)
        mine = look(names, "", "")
        checks = [packages(HERE, mine)]
        ends = time.monotonic() + patience_s
        waiting = list(asked)
        while waiting:
            left_s = max(0.0, ends - time.monotonic())
            ready, waiting = ray.wait(waiting, num_returns=1, timeout=left_s)
            got_s = time.time()
            for ref in ready:
                node, sent_s = asked[ref]
                checks += _answer(ref, node, mine, folder=place, sent_s=sent_s, got_s=got_s)
            if not ready:
                break
        for ref in waiting:
            ray.cancel(ref, force=True)
            checks.append(_silent(asked[ref][0], f"no answer within {patience_s:.0f} s"))
    checks.sort(key=lambda check: (check.where != HERE, check.where))
    return checks + _unshared(folder, error)


def _answer(
    ref: Any, node: dict[str, Any], mine: Facts, *, folder: str, sent_s: float, got_s: float
) -> list[Check]:
    import ray

    try:
        facts = ray.get(ref)
    except ray.exceptions.RayError as error:
        if node["NodeID"] not in {one["NodeID"] for one in _alive()}:
            said = "has left the cluster while it was asked"
            return [Check(_name(node), "reachable", State.WARNING, said, "ray status")]
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return [_silent(node, lines[-1])]
    gpus = node["Resources"].get("GPU", 0.0)
    return judge(_name(node), facts, mine, folder=folder, gpus=gpus, sent_s=sent_s, got_s=got_s)


def _silent(node: dict[str, Any], said: str) -> Check:
    mend = f"ssh {node['NodeManagerAddress']}, then: ray stop; ray start --address=HEAD:PORT"
    return Check(_name(node), "reachable", State.FAILED, said, mend)


def _alive() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _name(node: dict[str, Any]) -> str:
    """Its address; several nodes on one machine are told apart by the beginning of their ids."""
    address = str(node["NodeManagerAddress"])
    same = [one for one in _alive() if one["NodeManagerAddress"] == address]
    return address if len(same) == 1 else f"{address} {node['NodeID'][:4]}"


def _names() -> list[str]:
    return [NAME, *dict.fromkeys([*required_names(), *FITTING[0]])]


def _modules() -> list[str]:
    """What is imported for a try; what may be left out only where it is installed."""
    there = [name for name in FITTING[0] if version_of(name)]
    return [import_name(name) for name in dict.fromkeys([*required_names(), *there])]


@contextlib.contextmanager
def _shared(folder: str) -> Iterator[tuple[str, str, str]]:
    """(the folder or its nearest parent that is there, a secret that a file in it holds, error)."""
    secret = secrets.token_hex(8)
    if not folder:
        yield "", secret, ""
        return
    path = Path(folder).expanduser().absolute()
    place = str(next(one for one in (path, *path.parents) if one.is_dir()))
    with shared_file(place, secret) as error:
        yield ("" if error else place), secret, (f"{place} {error}" if error else "")


def _unshared(folder: str, error: str) -> list[Check]:
    if not error:
        return []
    mend = f"let the folder be written, or name another: --runs FOLDER (try: touch {folder}/x)"
    return [Check(HERE, "storage", State.FAILED, error, mend)]


@contextlib.contextmanager
def _by_value(cloudpickle: Any) -> Iterator[None]:
    """Sends the code of `node_facts` itself: a node may lack Chorale, and shall say so."""
    cloudpickle.register_pickle_by_value(node_facts)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(node_facts)


def all_ok(checks: Sequence[Check]) -> bool:
    """Whether no check failed; warnings are let pass."""
    return first_failure(checks) is None
