import logging
import platform
import subprocess
import sys

import pytest
import torch

from chorale.lightning_models.training import speed


def test_bf16_is_used_only_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(**able: bool) -> torch.dtype:
        speed.precision.cache_clear()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
        return speed.precision("cpu")

    assert asked(avx512_f=True, avx512_bf16=True) == torch.bfloat16
    assert asked(amx_bf16=True) == torch.bfloat16
    assert asked(avx512_f=True, avx512_bf16=False) == torch.float32
    assert asked() == torch.float32
    speed.precision.cache_clear()


def test_prepare_sets_threads_and_allocator_and_can_be_called_again() -> None:
    code = (
        "from chorale.lightning_models.training import speed; import torch; "
        "speed.prepare(1); speed.prepare(1);"
        "print(torch.get_num_threads(), (torch.tensor([1e-40]) * 1.0).item(), speed.keep_memory())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    has_glibc = platform.libc_ver()[0] == "glibc"
    assert said.stdout.split() == ["1", "0.0", str(has_glibc)]
    assert said.stderr == ""


def test_lightning_is_quiet() -> None:
    speed.quieten_lightning()
    assert logging.getLogger("pytorch_lightning.utilities.rank_zero").level == logging.ERROR


@pytest.mark.parametrize("gpus", [False, True])
def test_that_there_is_no_gpu_is_remembered_and_nothing_else(
    gpus: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "_cached_device_count", None)
    monkeypatch.setattr(speed, "_may_have_gpu", lambda: gpus)
    speed.remember_no_gpu()
    assert torch.cuda._cached_device_count == (None if gpus else 0)


def test_a_gpu_that_is_hidden_for_now_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())  # the driver is there
    assert speed._may_have_gpu()


def test_callbacks_that_a_package_offers_are_still_found() -> None:
    made = [["one"], ["two"]]
    offers = iter([*made, []])
    look_up = speed.once_empty(lambda group: next(offers))
    assert [look_up("g"), look_up("g"), look_up("g"), look_up("g")] == [*made, [], []]


def test_seeding_torch_is_what_dropout_draws_from() -> None:
    with torch.random.fork_rng(devices=[]):
        speed.seed_torch(3, torch.device("cpu"))
        first = torch.rand(4)
        speed.seed_torch(3, torch.device("cpu"))
        assert torch.equal(torch.rand(4), first)


def test_memory_that_was_kept_is_given_back() -> None:
    code = (
        "import torch, psutil; from chorale.lightning_models.training import speed;"
        " speed.prepare();"
        "rss = lambda: psutil.Process().memory_info().rss / 2**20;"
        "before = rss(); x = [torch.ones(2**20) for _ in range(64)]; del x; kept = rss();"
        "speed.give_memory_back(); print(kept - before, rss() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kept_mb, left_mb = map(float, done.stdout.split())
    assert kept_mb > 200
    assert left_mb < 100
