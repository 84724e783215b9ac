import dataclasses
from typing import Any

import pytest

from chorale.cluster.doctor.checks import (
    GIB,
    Check,
    CheckState,
    check_node,
    check_packages,
    first_failed,
)
from chorale.cluster.doctor.node_facts import NodeFacts
from chorale.cluster.versions import requirements

FAILED, WARNING = CheckState.FAILED, CheckState.WARNING
GPU = {"name": "H100", "free_bytes": 70 * GIB, "total_bytes": 80 * GIB}
GOOD = NodeFacts(
    host="node",
    python="3.12.1",
    executable="/venv/bin/python",
    versions={"chorale-audio": "1", "torch": "2.11.0", "tensorboard": "2.21"},
    memory_free=32 * GIB,
    disk_free=100 * GIB,
    shared_memory=8 * GIB,
    began_s=1000.0,
    ended_s=1001.0,
    torch={"cuda": "13.0", "gpus": [GPU], "broken": {}},
    n_gpus_present=1,
)


def _checks(gpus: float = 1, **changed: Any) -> dict[str, Check]:
    facts = dataclasses.replace(GOOD, **changed)
    found = check_node("n", facts, GOOD, folder="/runs", gpus=gpus, sent_s=999.5, got_s=1001.5)
    return {check.what: check for check in found}


def test_all_checks_of_a_good_node_are_ok() -> None:
    assert {check.state for check in _checks().values()} == {CheckState.OK}
    assert "70 of 80 GiB free" in _checks()["GPU"].detail


@pytest.mark.parametrize(
    ("changed", "what", "state", "detail", "fix"),
    [
        ({"versions": {**GOOD.versions, "torch": "2.10.0"}}, "versions", FAILED,
         "torch 2.10.0 (here 2.11.0)", "/venv/bin/python -m pip install torch==2.11.0"),
        ({"versions": {**GOOD.versions, "tensorboard": "2.20"}}, "versions", WARNING,
         "tensorboard 2.20 (here 2.21)", "pip install tensorboard==2.21"),
        ({"versions": {**GOOD.versions, "chorale-audio": None}}, "versions", FAILED,
         "chorale-audio missing (here 1)", "chorale submit"),
        ({"python": "3.11.0"}, "versions", FAILED, "3.11.0 (here 3.12.1)", "Python 3.12.1"),
        ({"memory_free": GIB // 4}, "memory", FAILED, "0.2 GiB free", "free -h"),
        ({"memory_free": GIB}, "memory", WARNING, "1.0 GiB free", "free -h"),
        ({"disk_free": GIB // 2}, "disk", FAILED, "0.5 GiB free", "free some space"),
        ({"shared_memory": GIB // 16}, "shared memory", WARNING, "0.1 GiB", "--shm-size"),
        ({"storage_error": "is missing"}, "storage", WARNING, "/runs is missing", "mount"),
        ({"began_s": 1090.0, "ended_s": 1091.0}, "clock", FAILED, "90 s ahead", "chrony"),
        ({"began_s": 990.0, "ended_s": 991.0}, "clock", WARNING, "10 s behind", "chrony"),
        ({"torch": {"error": "ended with code -11", "gpus": []}}, "imports", FAILED,
         "ended with code -11", "free -h"),
        ({"torch": {"broken": {"sklearn": ["ImportError", "no\nmore"]}, "gpus": []}}, "imports",
         FAILED, "sklearn cannot be imported (ImportError: no)",
         "/venv/bin/python -m pip install --force-reinstall --no-deps 'scikit-learn>="),
        ({"torch": {"broken": {"soxr": ["ModuleNotFoundError", "No module"]}, "gpus": []}},
         "imports", FAILED, "soxr cannot", "/venv/bin/python -m pip install 'soxr>="),
        ({"torch": {"cuda": None, "gpus": [], "broken": {}}}, "GPU", FAILED,
         "counts 1, PyTorch sees 0", "nvidia-smi"),
        ({"torch": {"gpus": [{"name": "H100", "error": "RuntimeError: lost"}], "broken": {}}},
         "GPU", FAILED, "H100: RuntimeError: lost", "nvidia-smi"),
    ],
)  # fmt: skip
def test_each_fault_is_reported_with_its_fix(
    changed: dict[str, Any], what: str, state: CheckState, detail: str, fix: str
) -> None:
    check = _checks(**changed)[what]
    assert check.state is state
    assert detail in check.detail
    assert fix in check.fix


@pytest.mark.parametrize(
    ("versions", "fix"),
    [
        # the pair that pip chose in November 2026, which does not load
        (("2.11.0", "2.11.1", None), "install torchaudio==2.11.0"),
        (("2.11.0", "2.11.1", "0.26.0"), "install torchaudio==2.11.0"),
        (("2.15.0+cu132", "2.11.0", "0.29.2"), "install torchaudio==2.11.1"),
        (("2.12.1", "2.11.1", "0.27.1"), "install torch==2.15.0 torchvision==0.29.2"),
        ((None, "2.11.1", None), "install torch==2.15.0"),
        (("2.13.0+cpu", "2.11.1", None),
         "install --force-reinstall --no-deps torch==2.13.0 torchaudio==2.11.1"),
    ],
)  # fmt: skip
def test_the_fix_for_pytorch_names_compatible_versions(
    versions: tuple[str, str, str | None], fix: str
) -> None:
    trio = dict(zip(("torch", "torchaudio", "torchvision"), versions, strict=True))
    broken = {"torchaudio": ["OSError", "undefined symbol"]}
    facts: dict[str, str | None] = {**GOOD.versions, **trio}
    check = _checks(versions=facts, torch={"gpus": [], "broken": broken})["imports"]
    assert check.fix == f"/venv/bin/python -m pip {fix}"


def test_a_gpu_that_pytorch_does_not_see_fails_even_if_ray_counts_none() -> None:
    check = _checks(gpus=0, torch={"cuda": None, "gpus": [], "broken": {}})["GPU"]
    assert check.state is CheckState.FAILED
    assert "built without CUDA" in check.detail


def test_a_slow_answer_is_not_reported_as_clock_skew() -> None:
    late = check_node("n", GOOD, GOOD, folder="", gpus=1, sent_s=900.0, got_s=1100.0)
    assert {check.what: check for check in late}["clock"].state is CheckState.OK


def test_the_fix_for_a_missing_package_installs_the_required_version() -> None:
    check = check_packages("here", GOOD)
    assert check.state is CheckState.FAILED
    lacking = [one for one in requirements() if one.startswith("librosa")]
    assert f"{lacking[0]} (is missing)" in check.detail
    assert lacking[0] in check.fix
    assert first_failed([check]) is check
