import copy

import numpy as np
import pytest

from chorale.cluster.failures import requires_new_process
from chorale.cluster.messages import Sealed


class OutOfMemoryError(RuntimeError):
    """Has the name of torch's own error."""


def numpys_memory_error() -> Exception:
    with pytest.raises(MemoryError) as caught:
        np.empty(2**50)
    return caught.value


def caused_by(cause: Exception) -> Exception:
    try:
        raise ValueError("the trial went wrong") from cause
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (OutOfMemoryError("tried to allocate"), True),
        (MemoryError(), True),
        (numpys_memory_error(), True),
        (caused_by(MemoryError()), True),
        (caused_by(KeyError("lr")), False),
        (RuntimeError("shape mismatch"), False),
    ],
)
def test_only_memory_and_cuda_errors_require_a_new_process(
    error: Exception, expected: bool
) -> None:
    assert requires_new_process(error) is expected


def test_sealed_content_can_be_taken_once_and_is_never_copied_or_printed() -> None:
    content = ["secret"]
    sealed = Sealed(content)
    assert copy.deepcopy(sealed) is sealed
    assert "secret" not in repr(sealed)
    assert sealed.take() is content
    assert sealed.take() is None
