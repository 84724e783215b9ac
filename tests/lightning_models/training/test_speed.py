import json
import logging
import platform
import subprocess
import sys

import pytest
import torch

from chorale.lightning_models.patches import _lightning
from chorale.lightning_models.training import speed


def test_bf16_is_used_only_where_the_cpu_supports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def precision_with(**able: bool) -> torch.dtype:
        speed.fastest_precision.cache_clear()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
        return speed.fastest_precision("cpu")

    assert precision_with(avx512_f=True, avx512_bf16=True) == torch.bfloat16
    assert precision_with(amx_bf16=True) == torch.bfloat16
    assert precision_with(avx512_f=True, avx512_bf16=False) == torch.float32
    assert precision_with() == torch.float32
    speed.fastest_precision.cache_clear()


MEASURE = """
import json, psutil, sys, torch, types
# Lightning takes seconds to import, and sets none of what is measured
quiet = types.SimpleNamespace(cache_entry_points=lambda: None)
sys.modules["chorale.lightning_models.patches._lightning"] = quiet
from chorale.lightning_models.training import speed
speed.prepare_process(1)
speed.prepare_process(1)
found = {
    "threads": torch.get_num_threads(),
    "denormal": (torch.tensor([1e-40]) * 1.0).item(),
    "retains": speed.retain_memory(),
}
rss_mb = lambda: psutil.Process().memory_info().rss / 2**20
before = rss_mb()
x = [torch.ones(2**20) for _ in range(64)]
del x
found["kept_mb"] = rss_mb() - before
speed.release_memory()
found["left_mb"] = rss_mb() - before
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def prepared() -> subprocess.CompletedProcess[str]:
    """A process that was prepared twice, and measured itself."""
    return subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    )


def test_prepare_process_sets_threads_and_allocator_and_is_idempotent(
    prepared: subprocess.CompletedProcess[str],
) -> None:
    found = json.loads(prepared.stdout)
    has_glibc = platform.libc_ver()[0] == "glibc"
    assert [found["threads"], found["denormal"], found["retains"]] == [1, 0.0, has_glibc]
    assert prepared.stderr == ""


def test_retained_memory_is_released(prepared: subprocess.CompletedProcess[str]) -> None:
    found = json.loads(prepared.stdout)
    assert found["kept_mb"] > 200
    assert found["left_mb"] < 100


def test_lightning_is_quiet() -> None:
    speed.silence_lightning()
    assert logging.getLogger("pytorch_lightning.utilities.rank_zero").level == logging.ERROR


def test_callbacks_of_installed_packages_are_still_found() -> None:
    made = [["one"], ["two"]]
    offers = iter([*made, []])
    look_up = _lightning.cache_empty_result(lambda group: next(offers))
    assert [look_up("g"), look_up("g"), look_up("g"), look_up("g")] == [*made, [], []]


def test_seed_torch_seeds_the_default_generator() -> None:
    with torch.random.fork_rng(devices=[]):
        speed.seed_torch(3, torch.device("cpu"))
        first = torch.rand(4)
        speed.seed_torch(3, torch.device("cpu"))
        assert torch.equal(torch.rand(4), first)
