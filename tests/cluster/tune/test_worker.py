import copy

import numpy as np
import pytest

from chorale.cluster.failures import spoils
from chorale.cluster.messages import Sealed


class OutOfMemoryError(RuntimeError):
    """Named like torch's own."""


def numpys_own() -> Exception:
    with pytest.raises(MemoryError) as caught:
        np.empty(2**50)
    return caught.value


def caused_by(cause: Exception) -> Exception:
    try:
        raise ValueError("the trial went wrong") from cause
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "spoilt"),
    [
        (RuntimeError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (OutOfMemoryError("tried to allocate"), True),
        (MemoryError(), True),
        (numpys_own(), True),
        (caused_by(MemoryError()), True),
        (caused_by(KeyError("lr")), False),
        (RuntimeError("shape mismatch"), False),
    ],
)
def test_only_memory_and_cuda_errors_spoil_a_process(error: Exception, spoilt: bool) -> None:
    assert spoils(error) is spoilt


def test_what_is_sealed_is_given_away_once_and_never_copied_or_printed() -> None:
    content = ["secret"]
    sealed = Sealed(content)
    assert copy.deepcopy(sealed) is sealed
    assert "secret" not in repr(sealed)
    assert sealed.take() is content
    assert sealed.take() is None
