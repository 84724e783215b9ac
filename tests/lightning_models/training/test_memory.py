import numpy as np
import pytest
import torch

from chorale.lightning_models.training import memory

CPU = torch.device("cpu")
MIB = 2**20


@pytest.mark.skipif(not (memory.PROCESS / "clear_refs").exists(), reason="the kernel keeps no peak")
def test_the_peak_is_since_the_last_reset() -> None:
    np.ones(200 * MIB, np.uint8)
    memory.reset_peak(CPU)
    before = memory.measured_peak(CPU)
    np.ones(100 * MIB, np.uint8)
    after = memory.measured_peak(CPU)
    assert before is not None
    assert after is not None
    assert 90 * MIB < after.peak_bytes - before.peak_bytes < 190 * MIB
    assert after.device_bytes is None


def test_a_limit_on_a_cpu_has_no_effect() -> None:
    memory.limit_gpu_memory(0.25, CPU, beside_bytes=0)
    assert torch.ones(10).sum() == 10


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_process_runs_out_of_memory_at_its_share_of_a_gpu() -> None:
    device = torch.device("cuda")
    total = torch.cuda.get_device_properties(device).total_memory
    memory.limit_gpu_memory(0.25, device, beside_bytes=0)
    try:
        memory.reset_peak(device)
        with pytest.raises(torch.cuda.OutOfMemoryError):
            torch.empty(total // 3, dtype=torch.uint8, device=device)
        torch.empty(64 * MIB, dtype=torch.uint8, device=device)
        held = memory.measured_peak(device)
        assert held is not None
        assert held.peak_bytes >= 64 * MIB
        assert held.device_bytes == total
    finally:
        memory.limit_gpu_memory(1.0, device, beside_bytes=0)
