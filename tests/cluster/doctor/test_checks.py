import dataclasses
from typing import Any

import pytest

from chorale.cluster.doctor.checks import GIB, Check, State, first_failure, judge, packages
from chorale.cluster.doctor.node_facts import Facts
from chorale.cluster.versions import requirements

GPU = {"name": "H100", "free_bytes": 70 * GIB, "total_bytes": 80 * GIB}
GOOD = Facts(
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


def _judged(gpus: float = 1, **changed: Any) -> dict[str, Check]:
    facts = dataclasses.replace(GOOD, **changed)
    found = judge("n", facts, GOOD, folder="/runs", gpus=gpus, sent_s=999.5, got_s=1001.5)
    return {check.what: check for check in found}


def test_a_good_node_is_all_ok() -> None:
    assert {check.state for check in _judged().values()} == {State.OK}
    assert "70 of 80 GiB free" in _judged()["GPU"].said


@pytest.mark.parametrize(
    ("changed", "what", "state", "said", "mend"),
    [
        ({"versions": {**GOOD.versions, "torch": "2.10.0"}}, "versions", State.FAILED,
         "torch 2.10.0 (here 2.11.0)", "/venv/bin/python -m pip install torch==2.11.0"),
        ({"versions": {**GOOD.versions, "tensorboard": "2.20"}}, "versions", State.WARNING,
         "tensorboard 2.20 (here 2.21)", "pip install tensorboard==2.21"),
        ({"versions": {**GOOD.versions, "chorale-audio": None}}, "versions", State.FAILED,
         "chorale-audio missing (here 1)", "chorale submit"),
        ({"python": "3.11.0"}, "versions", State.FAILED, "3.11.0 (here 3.12.1)", "Python 3.12.1"),
        ({"memory_free": GIB // 4}, "memory", State.FAILED, "0.2 GiB free", "free -h"),
        ({"memory_free": GIB}, "memory", State.WARNING, "1.0 GiB free", "free -h"),
        ({"disk_free": GIB // 2}, "disk", State.FAILED, "0.5 GiB free", "make room"),
        ({"shared_memory": GIB // 16}, "shared memory", State.WARNING, "0.1 GiB", "--shm-size"),
        ({"storage_error": "is missing"}, "storage", State.WARNING, "/runs is missing", "mount"),
        ({"began_s": 1090.0, "ended_s": 1091.0}, "clock", State.FAILED, "90 s ahead", "chrony"),
        ({"began_s": 990.0, "ended_s": 991.0}, "clock", State.WARNING, "10 s behind", "chrony"),
        ({"torch": {"error": "ended with code -11", "gpus": []}}, "imports", State.FAILED,
         "ended with code -11", "free -h"),
        ({"torch": {"broken": {"sklearn": ["ImportError", "no\nmore"]}, "gpus": []}}, "imports",
         State.FAILED, "sklearn cannot be imported (ImportError: no)",
         "/venv/bin/python -m pip install --force-reinstall --no-deps 'scikit-learn>="),
        ({"torch": {"broken": {"soxr": ["ModuleNotFoundError", "No module"]}, "gpus": []}},
         "imports", State.FAILED, "soxr cannot", "/venv/bin/python -m pip install 'soxr>="),
        ({"torch": {"cuda": None, "gpus": [], "broken": {}}}, "GPU", State.FAILED,
         "counts 1, PyTorch sees 0", "nvidia-smi"),
        ({"torch": {"gpus": [{"name": "H100", "error": "RuntimeError: lost"}], "broken": {}}},
         "GPU", State.FAILED, "H100: RuntimeError: lost", "nvidia-smi"),
    ],
)  # fmt: skip
def test_each_fault_is_named_with_what_mends_it(
    changed: dict[str, Any], what: str, state: State, said: str, mend: str
) -> None:
    check = _judged(**changed)[what]
    assert check.state is state
    assert said in check.said
    assert mend in check.mend


@pytest.mark.parametrize(
    ("versions", "mend"),
    [
        # the pair that pip chose by itself in November 2026, and that does not load
        (("2.11.0", "2.11.1", None), "install torchaudio==2.11.0"),
        (("2.11.0", "2.11.1", "0.26.0"), "install torchaudio==2.11.0"),
        (("2.15.0+cu132", "2.11.0", "0.29.2"), "install torchaudio==2.11.1"),
        (("2.12.1", "2.11.1", "0.27.1"), "install torch==2.15.0 torchvision==0.29.2"),
        ((None, "2.11.1", None), "install torch==2.15.0"),
        (("2.13.0+cpu", "2.11.1", None),
         "install --force-reinstall --no-deps torch==2.13.0 torchaudio==2.11.1"),
    ],
)  # fmt: skip
def test_the_advice_for_pytorch_names_versions_that_are_known_to_fit(
    versions: tuple[str, str, str | None], mend: str
) -> None:
    trio = dict(zip(("torch", "torchaudio", "torchvision"), versions, strict=True))
    broken = {"torchaudio": ["OSError", "undefined symbol"]}
    facts: dict[str, str | None] = {**GOOD.versions, **trio}
    check = _judged(versions=facts, torch={"gpus": [], "broken": broken})["imports"]
    assert check.mend == f"/venv/bin/python -m pip {mend}"


def test_a_gpu_that_only_the_system_sees_fails_also_where_ray_counts_none() -> None:
    check = _judged(gpus=0, torch={"cuda": None, "gpus": [], "broken": {}})["GPU"]
    assert check.state is State.FAILED
    assert "built without CUDA" in check.said


def test_a_slow_answer_is_not_taken_for_a_wrong_clock() -> None:
    late = judge("n", GOOD, GOOD, folder="", gpus=1, sent_s=900.0, got_s=1100.0)
    assert {check.what: check for check in late}["clock"].state is State.OK


def test_a_package_that_is_lacking_is_to_be_installed_as_it_is_required() -> None:
    check = packages("here", GOOD)
    assert check.state is State.FAILED
    lacking = [one for one in requirements() if one.startswith("librosa")]
    assert f"{lacking[0]} (is missing)" in check.said
    assert lacking[0] in check.mend
    assert first_failure([check]) is check
