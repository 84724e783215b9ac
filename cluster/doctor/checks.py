"""Health checks of machines: the state of each, and the command that fixes a problem.

Pure functions of facts; `cluster.doctor.doctor` collects those.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from packaging.requirements import Requirement

from chorale.cluster.doctor.node_facts import NodeFacts
from chorale.cluster.imports import compatible_torch_pins, first_line, repair_command
from chorale.cluster.versions import COMPATIBLE_TORCH, DISTRIBUTION, requirements

GIB = 2**30
MUST_MATCH = (DISTRIBUTION, "ray", "torch", "pytorch-lightning", "numpy")
"""Packages whose objects a driver and its workers exchange, or that determine the results."""
MIN_MEMORY_BYTES, LOW_MEMORY_BYTES = 0.5 * GIB, 2 * GIB
MIN_DISK_BYTES, LOW_DISK_BYTES = 1 * GIB, 10 * GIB
LOW_SHARED_MEMORY_BYTES = 0.5 * GIB
"""Containers start with 64 MiB."""
WARNING_SKEW_S, FAILED_SKEW_S = 2.0, 60.0


class CheckState(Enum):
    """The result of a check."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One line of the doctor's table; `fix` is the command to type if it is not ok."""

    where: str
    what: str
    state: CheckState
    detail: str
    fix: str = ""


def check_packages(where: str, facts: NodeFacts) -> Check:
    """Whether a machine has all required packages in the required versions."""
    problems = []
    for line in requirements():
        one = Requirement(line)
        installed = facts.versions.get(one.name)
        if installed is None or not one.specifier.contains(installed, prereleases=True):
            problems.append((line, installed))
    if not problems:
        version = facts.versions.get(DISTRIBUTION)
        detail = f"{DISTRIBUTION} {version} on python {facts.python}, all requirements are met"
        return Check(where, "packages", CheckState.OK, detail)
    detail = ", ".join(f"{line} (is {installed or 'missing'})" for line, installed in problems)
    wanted = [line for line, _ in problems if Requirement(line).name not in COMPATIBLE_TORCH[0]]
    if len(wanted) < len(problems):
        wanted += compatible_torch_pins(facts.versions)
    fix = shlex.join([facts.executable, "-m", "pip", "install", *wanted])
    return Check(where, "packages", CheckState.FAILED, detail, fix)


def check_node(
    node: str,
    facts: NodeFacts,
    mine: NodeFacts,
    *,
    folder: str,
    gpus: float,
    sent_s: float,
    got_s: float,
) -> list[Check]:
    """All checks of one node, seen from the driver.

    Args:
        node: its name in the table.
        facts: of the node.
        mine: facts of the driver's machine.
        folder: the storage folder to check; empty for none.
        gpus: how many GPUs Ray counts on the node.
        sent_s: when the node was asked, and
        got_s: when its answer arrived, by the driver's clock.
    """
    checks = [
        Check(
            node, "reachable", CheckState.OK, f"{facts.host}, answered in {got_s - sent_s:.1f} s"
        ),
        check_versions(node, facts, mine),
        check_clock(node, facts, sent_s=sent_s, got_s=got_s),
    ]
    return checks + check_machine(node, facts, folder=folder, gpus=gpus)


def check_machine(node: str, facts: NodeFacts, *, folder: str, gpus: float) -> list[Check]:
    """The checks of one machine that need no comparison with the driver's."""
    checks = [
        _free_bytes(
            node,
            "memory",
            facts.memory_free,
            minimum=MIN_MEMORY_BYTES,
            low=LOW_MEMORY_BYTES,
            look="free -h",
        ),
        _free_bytes(
            node,
            "disk",
            facts.disk_free,
            minimum=MIN_DISK_BYTES,
            low=LOW_DISK_BYTES,
            look="du -xsh /tmp/* | sort -h",
        ),
    ]
    if facts.shared_memory is not None:
        checks.append(_shared_memory(node, facts.shared_memory))
    if folder:
        checks.append(check_storage(node, folder, facts.storage_error))
    if facts.torch:
        checks += [*_imports(node, facts), _gpus(node, facts, gpus)]
    return checks


def check_versions(node: str, facts: NodeFacts, mine: NodeFacts) -> Check:
    """Whether a node has the driver's versions of Python and the packages."""
    both: dict[str, tuple[str | None, str | None]] = {"python": (facts.python, mine.python)}
    both |= {name: (facts.versions.get(name), here) for name, here in mine.versions.items()}
    other = {name: pair for name, pair in both.items() if pair[0] != pair[1]}
    if not other:
        detail = f"python {mine.python} and {len(mine.versions)} packages as here"
        return Check(node, "versions", CheckState.OK, detail)
    detail = ", ".join(
        f"{name} {installed or 'missing'} (here {here})"
        for name, (installed, here) in other.items()
    )
    bad = other.keys() & {"python", *MUST_MATCH}
    state = CheckState.FAILED if bad else CheckState.WARNING
    if "python" in other:
        return Check(node, "versions", state, detail, f"install Python {mine.python} there")
    wanted = " ".join(f"{name}=={here}" for name, (_, here) in other.items() if here)
    fix = f"{facts.executable} -m pip install {wanted}"
    if set(other) == {DISTRIBUTION}:
        fix += "; or submit the code with the job: chorale submit SWEEP.yaml"
    return Check(node, "versions", state, detail, fix)


def check_clock(node: str, facts: NodeFacts, *, sent_s: float, got_s: float) -> Check:
    """Whether a node's clock agrees with the driver's: it answered between `sent_s` and `got_s`."""
    # The node read its clock between the request and the answer, so a reading outside that
    # interval is certainly skew.
    ahead_s, behind_s = facts.ended_s - got_s, sent_s - facts.began_s
    skew_s = max(ahead_s, behind_s, 0.0)
    if skew_s < WARNING_SKEW_S:
        return Check(node, "clock", CheckState.OK, "as here")
    way = "ahead" if ahead_s > behind_s else "behind"
    state = CheckState.FAILED if skew_s >= FAILED_SKEW_S else CheckState.WARNING
    detail = f"at least {skew_s:.0f} s {way}"
    return Check(node, "clock", state, detail, "sudo systemctl enable --now chrony")


def check_storage(node: str, folder: str, error: str) -> Check:
    """Whether the node sees the driver's folder of studies, and can write to it."""
    if not error:
        return Check(node, "storage", CheckState.OK, f"{folder} is read and written")
    return Check(
        node,
        "storage",
        CheckState.WARNING,
        f"{folder} {error}",
        f"mount it there under the same path, or name one that is shared: --runs FOLDER "
        f"(try: touch {folder}/x)",
    )


def _free_bytes(node: str, what: str, free: int, *, minimum: float, low: float, look: str) -> Check:
    detail = f"{free / GIB:.1f} GiB free"
    if free >= low:
        return Check(node, what, CheckState.OK, detail)
    state = CheckState.FAILED if free < minimum else CheckState.WARNING
    return Check(node, what, state, detail, f"free some space; see what uses it: {look}")


def _shared_memory(node: str, size: int) -> Check:
    detail = f"{size / GIB:.1f} GiB"
    if size >= LOW_SHARED_MEMORY_BYTES:
        return Check(node, "shared memory", CheckState.OK, detail)
    fix = "start the container with: --shm-size 2g"
    return Check(node, "shared memory", CheckState.WARNING, f"{detail}, so Ray uses a disk", fix)


def _imports(node: str, facts: NodeFacts) -> list[Check]:
    """Whether all libraries can be imported; one check for each that cannot."""
    if "error" in facts.torch:
        return [Check(node, "imports", CheckState.FAILED, facts.torch["error"], "free -h; df -h")]
    checks = []
    for module, (kind, text) in facts.torch["broken"].items():
        detail = f"{module} cannot be imported ({kind}: {first_line(text)})"
        fix = repair_command(
            module,
            is_missing=kind == "ModuleNotFoundError",
            versions=facts.versions,
            executable=facts.executable,
        )
        checks.append(Check(node, "imports", CheckState.FAILED, detail, fix))
    if checks:
        return checks
    installed = [name for name in COMPATIBLE_TORCH[0] if facts.versions.get(name)]
    detail = ", ".join(f"{name} {facts.versions[name]}" for name in installed)
    return [Check(node, "imports", CheckState.OK, f"all libraries load, including {detail}")]


def _gpus(node: str, facts: NodeFacts, n_counted: float) -> Check:
    seen = facts.torch.get("gpus", [])
    broken = [gpu for gpu in seen if "error" in gpu]
    if broken:
        detail = f"{broken[0]['name']}: {broken[0]['error']}"
        return Check(node, "GPU", CheckState.FAILED, detail, "nvidia-smi; sudo reboot")
    if len(seen) < n_counted:
        detail = f"the cluster counts {n_counted:g}, PyTorch sees {len(seen)}"
        fix = f"nvidia-smi; or start the node with: ray start --num-gpus {len(seen)} ..."
        return Check(node, "GPU", CheckState.FAILED, detail, fix)
    if facts.n_gpus_present > len(seen):
        detail = f"there are {facts.n_gpus_present}, PyTorch sees {len(seen)}"
        build = (
            f"built for CUDA {facts.torch['cuda']}"
            if facts.torch.get("cuda")
            else "built without CUDA"
        )
        wanted = [f"{name}=={COMPATIBLE_TORCH[0][name]}" for name in ("torch", "torchaudio")]
        pip = shlex.join([facts.executable, "-m", "pip", "install", "--force-reinstall", *wanted])
        fix = f"nvidia-smi; {pip}"
        return Check(node, "GPU", CheckState.FAILED, f"{detail} ({build})", fix)
    if not seen:
        return Check(node, "GPU", CheckState.OK, "none")
    names = ", ".join(
        f"{gpu['name']} ({gpu['free_bytes'] / GIB:.0f} of {gpu['total_bytes'] / GIB:.0f} GiB free)"
        for gpu in seen
    )
    return Check(node, "GPU", CheckState.OK, names)


def first_failed(checks: Sequence[Check]) -> Check | None:
    """The first check that failed."""
    return next((check for check in checks if check.state is CheckState.FAILED), None)
