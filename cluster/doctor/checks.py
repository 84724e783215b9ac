"""Judges what machines said of themselves: what is good, what is not, and the command that mends.

Pure functions of facts; `cluster.doctor.doctor` gathers those.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from packaging.requirements import Requirement

from chorale.cluster.doctor.node_facts import Facts
from chorale.cluster.imports import first_line, fitting_torch, repair
from chorale.cluster.versions import FITTING, NAME, requirements

GIB = 2**30
MUST_MATCH = (NAME, "ray", "torch", "pytorch-lightning", "numpy")
"""What a driver and its workers exchange, or what decides the numbers."""
LEAST_MEMORY, SCANT_MEMORY = 0.5 * GIB, 2 * GIB
LEAST_DISK, SCANT_DISK = 1 * GIB, 10 * GIB
SCANT_SHARED_MEMORY = 0.5 * GIB
"""Containers start with 64 MiB."""
SKEW_S, GREAT_SKEW_S = 2.0, 60.0


class State(Enum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Check:
    """One line of the doctor's table; `mend` is the command that mends it, where it is not ok."""

    where: str
    what: str
    state: State
    said: str
    mend: str = ""


def packages(where: str, facts: Facts) -> Check:
    """Whether a machine has what Chorale needs."""
    lacking = []
    for line in requirements():
        one = Requirement(line)
        there = facts.versions.get(one.name)
        if there is None or not one.specifier.contains(there, prereleases=True):
            lacking.append((line, there))
    if not lacking:
        said = f"{NAME} {facts.versions.get(NAME)} on python {facts.python}, all it needs is there"
        return Check(where, "packages", State.OK, said)
    said = ", ".join(f"{line} (is {there or 'missing'})" for line, there in lacking)
    wanted = [line for line, _ in lacking if Requirement(line).name not in FITTING[0]]
    if len(wanted) < len(lacking):
        wanted += fitting_torch(facts.versions)
    mend = shlex.join([facts.executable, "-m", "pip", "install", *wanted])
    return Check(where, "packages", State.FAILED, said, mend)


def judge(
    node: str, facts: Facts, mine: Facts, *, folder: str, gpus: float, sent_s: float, got_s: float
) -> list[Check]:
    """All that can be said of one node, seen from the driver.

    Args:
        node: how it is called in the table.
        facts: what it said.
        mine: what the driver's machine said.
        folder: the storage that it was asked about; empty: none.
        gpus: how many the cluster believes that it has.
        sent_s: when it was asked and
        got_s: when its answer was there, by the driver's clock.
    """
    checks = [
        Check(node, "reachable", State.OK, f"{facts.host}, answered in {got_s - sent_s:.1f} s"),
        versions(node, facts, mine),
        clock(node, facts, sent_s=sent_s, got_s=got_s),
    ]
    return checks + rest(node, facts, folder=folder, gpus=gpus)


def rest(node: str, facts: Facts, *, folder: str, gpus: float) -> list[Check]:
    """What can be said of a machine without another one to compare it with."""
    checks = [
        _amount(node, "memory", facts.memory_free, LEAST_MEMORY, SCANT_MEMORY, "free -h"),
        _amount(node, "disk", facts.disk_free, LEAST_DISK, SCANT_DISK, "du -xsh /tmp/* | sort -h"),
    ]
    if facts.shared_memory is not None:
        checks.append(_shared_memory(node, facts.shared_memory))
    if folder:
        checks.append(storage(node, folder, facts.storage_error))
    if facts.torch:
        checks += [*_imports(node, facts), _gpus(node, facts, gpus)]
    return checks


def versions(node: str, facts: Facts, mine: Facts) -> Check:
    """Whether a node runs what the driver runs."""
    both: dict[str, tuple[str | None, str | None]] = {"python": (facts.python, mine.python)}
    both |= {name: (facts.versions.get(name), here) for name, here in mine.versions.items()}
    other = {name: pair for name, pair in both.items() if pair[0] != pair[1]}
    if not other:
        said = f"python {mine.python} and {len(mine.versions)} packages as here"
        return Check(node, "versions", State.OK, said)
    said = ", ".join(
        f"{name} {there or 'missing'} (here {here})" for name, (there, here) in other.items()
    )
    bad = other.keys() & {"python", *MUST_MATCH}
    state = State.FAILED if bad else State.WARNING
    if "python" in other:
        return Check(node, "versions", state, said, f"install Python {mine.python} there")
    wanted = " ".join(f"{name}=={here}" for name, (_, here) in other.items() if here)
    mend = f"{facts.executable} -m pip install {wanted}"
    if set(other) == {NAME}:
        mend += "; or send the code along: chorale submit SWEEP.yaml"
    return Check(node, "versions", state, said, mend)


def clock(node: str, facts: Facts, *, sent_s: float, got_s: float) -> Check:
    """Whether a node's clock goes as the driver's: it answered between `sent_s` and `got_s`."""
    # Its first look at the clock came after the question, its last before the answer: what does
    # not fit that is surely skew.
    ahead_s, behind_s = facts.ended_s - got_s, sent_s - facts.began_s
    skew_s = max(ahead_s, behind_s, 0.0)
    if skew_s < SKEW_S:
        return Check(node, "clock", State.OK, "as here")
    way = "ahead" if ahead_s > behind_s else "behind"
    state = State.FAILED if skew_s >= GREAT_SKEW_S else State.WARNING
    said = f"at least {skew_s:.0f} s {way}"
    return Check(node, "clock", state, said, "sudo systemctl enable --now chrony")


def storage(node: str, folder: str, error: str) -> Check:
    """Whether the folder of all studies is the same there, and can be written."""
    if not error:
        return Check(node, "storage", State.OK, f"{folder} is read and written")
    return Check(
        node,
        "storage",
        State.WARNING,
        f"{folder} {error}",
        f"mount it there under the same path, or name one that is shared: --runs FOLDER "
        f"(try: touch {folder}/x)",
    )


def _amount(node: str, what: str, free: int, least: float, scant: float, look: str) -> Check:
    said = f"{free / GIB:.1f} GiB free"
    if free >= scant:
        return Check(node, what, State.OK, said)
    state = State.FAILED if free < least else State.WARNING
    return Check(node, what, state, said, f"make room; what takes it: {look}")


def _shared_memory(node: str, size: int) -> Check:
    said = f"{size / GIB:.1f} GiB"
    if size >= SCANT_SHARED_MEMORY:
        return Check(node, "shared memory", State.OK, said)
    mend = "start the container with: --shm-size 2g"
    return Check(node, "shared memory", State.WARNING, f"{said}, so Ray uses a disk", mend)


def _imports(node: str, facts: Facts) -> list[Check]:
    """Whether all libraries can be imported, one line for each that cannot."""
    if "error" in facts.torch:
        return [Check(node, "imports", State.FAILED, facts.torch["error"], "free -h; df -h")]
    checks = []
    for module, (kind, text) in facts.torch["broken"].items():
        said = f"{module} cannot be imported ({kind}: {first_line(text)})"
        mend = repair(
            module,
            is_missing=kind == "ModuleNotFoundError",
            versions=facts.versions,
            executable=facts.executable,
        )
        checks.append(Check(node, "imports", State.FAILED, said, mend))
    if checks:
        return checks
    there = [name for name in FITTING[0] if facts.versions.get(name)]
    said = ", ".join(f"{name} {facts.versions[name]}" for name in there)
    return [Check(node, "imports", State.OK, f"all libraries load, {said} among them")]


def _gpus(node: str, facts: Facts, believed: float) -> Check:
    seen = facts.torch.get("gpus", [])
    broken = [gpu for gpu in seen if "error" in gpu]
    if broken:
        said = f"{broken[0]['name']}: {broken[0]['error']}"
        return Check(node, "GPU", State.FAILED, said, "nvidia-smi; sudo reboot")
    if len(seen) < believed:
        said = f"the cluster counts {believed:g}, PyTorch sees {len(seen)}"
        mend = f"nvidia-smi; or start the node with: ray start --num-gpus {len(seen)} ..."
        return Check(node, "GPU", State.FAILED, said, mend)
    if facts.n_gpus_present > len(seen):
        said = f"there are {facts.n_gpus_present}, PyTorch sees {len(seen)}"
        build = (
            f"built for CUDA {facts.torch['cuda']}"
            if facts.torch.get("cuda")
            else "built without CUDA"
        )
        wanted = [f"{name}=={FITTING[0][name]}" for name in ("torch", "torchaudio")]
        pip = shlex.join([facts.executable, "-m", "pip", "install", "--force-reinstall", *wanted])
        mend = f"nvidia-smi; {pip}"
        return Check(node, "GPU", State.FAILED, f"{said} ({build})", mend)
    if not seen:
        return Check(node, "GPU", State.OK, "none")
    names = ", ".join(
        f"{gpu['name']} ({gpu['free_bytes'] / GIB:.0f} of {gpu['total_bytes'] / GIB:.0f} GiB free)"
        for gpu in seen
    )
    return Check(node, "GPU", State.OK, names)


def first_failure(checks: Sequence[Check]) -> Check | None:
    """The first check that failed."""
    return next((check for check in checks if check.state is State.FAILED), None)
