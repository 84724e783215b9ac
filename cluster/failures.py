"""What an error says of the trial that met it, and of the process that it was met in.

Both runners make the outcome of a failed trial here.
"""

import traceback
from collections.abc import Iterator

from chorale.cluster.base import End, Failure, Outcome, WorkerLost

MEMORY_TYPES = frozenset({"MemoryError", "OutOfMemoryError"})
MEMORY_TEXTS = ("out of memory", "can't allocate memory")
SPOILING_TYPES = frozenset({"AcceleratorError"})
SPOILING_TEXTS = ("CUDA error", "CUBLAS_STATUS", "CUDNN_STATUS", "cuDNN error")


def failure(error: BaseException) -> Outcome:
    """The outcome of a trial whose work raised `error`: a reason of one line, and the traceback."""
    name = type(error).__name__
    lines = str(error).strip().splitlines()
    reason = f"{name}: {lines[0]}" if lines else name
    kind = Failure.OUT_OF_MEMORY if ran_out_of_memory(error) else Failure.RAISED
    if isinstance(error, WorkerLost):
        kind, reason = Failure.LOST, str(error)
    return Outcome(End.FAILED, None, reason, "".join(traceback.format_exception(error)), kind)


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether `error` comes from too little memory, of the machine or of a GPU."""
    return _is_any(error, MEMORY_TYPES, MEMORY_TEXTS)


def spoils(error: BaseException | None) -> bool:
    """Whether a process that met `error` may not recover: CUDA errors and running out of memory."""
    return ran_out_of_memory(error) or _is_any(error, SPOILING_TYPES, SPOILING_TEXTS)


def _is_any(error: BaseException | None, types: frozenset[str], texts: tuple[str, ...]) -> bool:
    """Told by the names of types and by text, as neither torch nor Ray is imported here."""
    for one in _chain(error):
        names = {kind.__name__ for kind in type(one).__mro__}
        if names & types or any(text in str(one) for text in texts):
            return True
    return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
