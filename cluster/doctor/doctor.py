"""Health checks of every node of a cluster, or of this machine alone, before anything is trained.

Collects facts on each node by a task that is bound to it (`cluster.doctor.node_facts`); the checks
themselves are in `cluster.doctor.checks`.
"""

import contextlib
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chorale.cluster.base import ClusterError
from chorale.cluster.connection import tokens
from chorale.cluster.connection.addresses import (
    gcs_requires_token,
    is_loopback,
    job_server_requires_token,
)
from chorale.cluster.connection.tokens import MAKE_TOKEN_COMMAND
from chorale.cluster.doctor import node_facts
from chorale.cluster.doctor.checks import (
    Check,
    CheckState,
    check_machine,
    check_node,
    check_packages,
    first_failed,
)
from chorale.cluster.doctor.node_facts import NodeFacts, collect_facts, marker_file
from chorale.cluster.imports import import_name
from chorale.cluster.versions import (
    COMPATIBLE_TORCH,
    DISTRIBUTION,
    required_distributions,
    version_of,
)

HERE = "here"
NODE_TIMEOUT_S = 180.0
QUICK_NODE_TIMEOUT_S = 30.0
"""How long a node may take to answer; it may have to start a process first."""

START_HEAD_COMMAND = "RAY_AUTH_MODE=token ray start --head"


def check_cluster(address: str | None, *, folder: str) -> list[Check]:
    """All checks on every node; without an address, on this machine alone.

    Args:
        address: "auto" or HOST:PORT; None for no cluster.
        folder: the folder of studies, which all machines should see.

    Raises:
        ClusterError: there is no cluster at `address`, or its token is missing here.
    """
    checks = check_token()
    if address is None:
        return checks + check_this_machine(folder)
    from chorale.cluster.connection.connect import connect

    with connect(address, allow_no_token=True):
        return [
            *checks,
            *check_ports(),
            *_nodes(folder=folder, with_imports=True, timeout_s=NODE_TIMEOUT_S),
        ]


def quick_check() -> None:
    """The checks that take less than a second, on every node of the connected cluster.

    Raises:
        ClusterError: a check failed.
    """
    failed = first_failed(_nodes(folder="", with_imports=False, timeout_s=QUICK_NODE_TIMEOUT_S))
    if failed is not None:
        raise ClusterError(
            f"node {failed.where}: {failed.what}: {failed.detail}; fix it with: {failed.fix} "
            f"(all checks: chorale doctor --address auto)"
        )


def check_this_machine(folder: str) -> list[Check]:
    """All checks of this machine."""
    with _marked_folder(folder) as (place, secret, error):
        facts = collect_facts(_names(), place, secret, modules=_modules())
    checks = [check_packages(HERE, facts), *check_machine(HERE, facts, folder=place, gpus=0)]
    return checks + _storage_failure(folder, error)


def check_token() -> list[Check]:
    """Whether only its owner can read the token on this machine."""
    file = tokens.token_file()
    if file is None:
        return [Check(HERE, "token", CheckState.OK, f"in ${tokens.RAY_TOKEN_VARIABLE}")]
    if not file.is_file():
        fix = f"if you have a cluster of your own: {MAKE_TOKEN_COMMAND}"
        return [Check(HERE, "token", CheckState.OK, f"none ({file} is missing); {fix}")]
    if tokens.is_accessible_to_others(file):
        detail = f"other users can read {file}"
        return [Check(HERE, "token", CheckState.FAILED, detail, f"chmod 600 {file}")]
    return [Check(HERE, "token", CheckState.OK, f"only its owner can read {file}")]


def check_ports() -> list[Check]:
    """Whether the connected cluster refuses clients without a token, tested by trying."""
    import ray

    from chorale.cluster._ray import dashboard_address

    gcs = ray.get_runtime_context().gcs_address
    host, _, port = gcs.rpartition(":")
    gcs_is_protected = gcs_requires_token(host, int(port))
    checks = [_port("control port", gcs, host, requires_token=gcs_is_protected)]
    url = dashboard_address()
    if not url:
        return [*checks, Check("cluster", "job port", CheckState.OK, "no dashboard, so no jobs")]
    job_host, _, port = url.rpartition(":")
    try:
        requires_token = job_server_requires_token(f"http://{url}")
    except ConnectionError as error:
        detail = f"{url} does not answer from here ({error}), so jobs cannot be submitted"
        fix = f"ssh -N -L {port}:localhost:{port} {host}"
        return [*checks, Check("cluster", "job port", CheckState.WARNING, detail, fix)]
    return [*checks, _port("job port", url, job_host, requires_token=requires_token)]


def _port(what: str, where: str, host: str, *, requires_token: bool) -> Check:
    if requires_token:
        return Check("cluster", what, CheckState.OK, f"{where} requires a token")
    if is_loopback(host):
        detail = f"{where} requires no token, but only this machine reaches it"
        return Check("cluster", what, CheckState.OK, detail)
    detail = f"anybody who reaches {where} can run code on the cluster: it requires no token"
    fix = (
        f"{MAKE_TOKEN_COMMAND}, copy ~/.ray/auth_token to each node, then on the head: ray stop; "
        f"{START_HEAD_COMMAND}"
    )
    return Check("cluster", what, CheckState.FAILED, detail, fix)


def _nodes(*, folder: str, with_imports: bool, timeout_s: float) -> list[Check]:
    """The checks of every alive node, ordered by name."""
    import ray
    from ray import cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    names = _names()
    with _marked_folder(folder) as (place, secret, error), _pickled_by_value(cloudpickle):
        task = ray.remote(num_cpus=0, max_retries=0)(collect_facts)
        requests: dict[Any, tuple[dict[str, Any], float]] = {}
        for node in sorted(_alive(), key=_name):
            only = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            sent_s = time.time()
            ref = task.options(scheduling_strategy=only).remote(
                names, place, secret, modules=_modules() if with_imports else ()
            )
            requests[ref] = (node, sent_s)
        mine = collect_facts(names, "", "")
        checks = [check_packages(HERE, mine)]
        ends = time.monotonic() + timeout_s
        waiting = list(requests)
        while waiting:
            left_s = max(0.0, ends - time.monotonic())
            ready, waiting = ray.wait(waiting, num_returns=1, timeout=left_s)
            got_s = time.time()
            for ref in ready:
                node, sent_s = requests[ref]
                checks += _node_checks(ref, node, mine, folder=place, sent_s=sent_s, got_s=got_s)
            if not ready:
                break
        for ref in waiting:
            ray.cancel(ref, force=True)
            checks.append(_unreachable(requests[ref][0], f"no answer within {timeout_s:.0f} s"))
    checks.sort(key=lambda check: (check.where != HERE, check.where))
    return checks + _storage_failure(folder, error)


def _node_checks(
    ref: Any, node: dict[str, Any], mine: NodeFacts, *, folder: str, sent_s: float, got_s: float
) -> list[Check]:
    import ray

    try:
        facts = ray.get(ref)
    except ray.exceptions.RayError as error:
        if node["NodeID"] not in {one["NodeID"] for one in _alive()}:
            detail = "left the cluster during the check"
            return [Check(_name(node), "reachable", CheckState.WARNING, detail, "ray status")]
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return [_unreachable(node, lines[-1])]
    gpus = node["Resources"].get("GPU", 0.0)
    return check_node(
        _name(node), facts, mine, folder=folder, gpus=gpus, sent_s=sent_s, got_s=got_s
    )


def _unreachable(node: dict[str, Any], detail: str) -> Check:
    fix = f"ssh {node['NodeManagerAddress']}, then: ray stop; ray start --address=HEAD:PORT"
    return Check(_name(node), "reachable", CheckState.FAILED, detail, fix)


def _alive() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _name(node: dict[str, Any]) -> str:
    """Its address; several nodes on one machine differ by the first characters of their ids."""
    address = str(node["NodeManagerAddress"])
    same = [one for one in _alive() if one["NodeManagerAddress"] == address]
    return address if len(same) == 1 else f"{address} {node['NodeID'][:4]}"


def _names() -> list[str]:
    return [DISTRIBUTION, *dict.fromkeys([*required_distributions(), *COMPATIBLE_TORCH[0]])]


def _modules() -> list[str]:
    """The modules to import; optional ones only if they are installed."""
    installed = [name for name in COMPATIBLE_TORCH[0] if version_of(name)]
    return [import_name(name) for name in dict.fromkeys([*required_distributions(), *installed])]


@contextlib.contextmanager
def _marked_folder(folder: str) -> Iterator[tuple[str, str, str]]:
    """(the folder or its nearest existing parent, the content of a marker file in it, error)."""
    secret = secrets.token_hex(8)
    if not folder:
        yield "", secret, ""
        return
    path = Path(folder).expanduser().absolute()
    place = str(next(one for one in (path, *path.parents) if one.is_dir()))
    with marker_file(place, secret) as error:
        yield ("" if error else place), secret, (f"{place} {error}" if error else "")


def _storage_failure(folder: str, error: str) -> list[Check]:
    if not error:
        return []
    fix = f"make the folder writable, or name another: --runs FOLDER (try: touch {folder}/x)"
    return [Check(HERE, "storage", CheckState.FAILED, error, fix)]


@contextlib.contextmanager
def _pickled_by_value(cloudpickle: Any) -> Iterator[None]:
    """Pickles the code of `node_facts` by value, since a node may lack Chorale."""
    cloudpickle.register_pickle_by_value(node_facts)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(node_facts)


def all_ok(checks: Sequence[Check]) -> bool:
    """Whether no check failed; warnings are ignored."""
    return first_failed(checks) is None
