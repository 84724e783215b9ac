"""Classification of errors: the outcome of a failed trial, and whether its process is reusable.

All runners make the outcome of a failed trial here.
"""

import traceback
from collections.abc import Iterator

from chorale.cluster.base import End, Failure, Outcome, Preempted, WorkerLost

MEMORY_TYPES = frozenset({"MemoryError", "OutOfMemoryError"})
MEMORY_TEXTS = ("out of memory", "can't allocate memory")
CUDA_ERROR_TYPES = frozenset({"AcceleratorError"})
CUDA_ERROR_TEXTS = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "cuDNN error")


def failed_outcome(error: BaseException) -> Outcome:
    """The outcome of a trial whose work raised `error`: a one-line reason and the traceback."""
    name = type(error).__name__
    lines = str(error).strip().splitlines()
    reason = f"{name}: {lines[0]}" if lines else name
    kind = Failure.OUT_OF_MEMORY if ran_out_of_memory(error) else Failure.RAISED
    if isinstance(error, WorkerLost | Preempted):
        kind = Failure.LOST if isinstance(error, WorkerLost) else Failure.PREEMPTED
        reason = str(error)
    return Outcome(End.FAILED, None, reason, "".join(traceback.format_exception(error)), kind)


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether `error` was caused by too little memory, of the machine or of a GPU."""
    return _matches(error, MEMORY_TYPES, MEMORY_TEXTS)


def requires_new_process(error: BaseException | None) -> bool:
    """Whether a process may not recover from `error`: CUDA errors and running out of memory."""
    return ran_out_of_memory(error) or _matches(error, CUDA_ERROR_TYPES, CUDA_ERROR_TEXTS)


def _matches(error: BaseException | None, types: frozenset[str], texts: tuple[str, ...]) -> bool:
    """Compares type names and texts along the chain, as neither torch nor Ray is imported here."""
    for one in _chain(error):
        names = {kind.__name__ for kind in type(one).__mro__}
        if names & types or any(text in str(one) for text in texts):
            return True
    return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
