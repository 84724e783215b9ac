"""Runs a PyTorch program on windows of audio, one after another: the form of all encoders."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chorale.datasets.programs.exported_program import Program, ProgramError

if TYPE_CHECKING:
    import numpy as np

Windows = Callable[["np.ndarray"], "np.ndarray"]
"""From float32 `(n_windows, n_samples)` to float32 `(n_windows, n_frames, n_bins)`."""


def on_windows(program: Program, device: str) -> Windows:
    """The program as a function on windows; it gets one at a time, as it may be exported for one.

    The function raises `ProgramError` where the program fails, or returns anything else than
    `(1, n_frames, n_bins)` or `(1, n_bins)`.
    """
    import numpy as np

    def run(windows: "np.ndarray") -> "np.ndarray":
        return np.concatenate([_run_window(program, device, window) for window in windows])

    return run


def in_batches(embed: Program, device: str, *, n_windows: int) -> Windows:
    """A function of some windows at a time as one on all of them, which bounds the memory.

    Args:
        embed: a tensor float32 `(n, n_samples)` -> `(n, n_bins)`, or `(n, n_frames, n_bins)`.
        device: "cpu" or "cuda".
        n_windows: the largest `n`.
    """
    import numpy as np
    import torch

    def run(windows: "np.ndarray") -> "np.ndarray":
        with torch.inference_mode():
            parts = [
                embed(torch.tensor(windows[i : i + n_windows], device=device))
                for i in range(0, len(windows), n_windows)
            ]
            found = torch.cat(parts)
            frames = found if found.ndim == 3 else found[:, None]
            return np.asarray(frames.cpu().numpy(), np.float32)

    return run


def _run_window(program: Program, device: str, window: "np.ndarray") -> "np.ndarray":
    import numpy as np
    import torch

    try:
        with torch.inference_mode():
            output: Any = program(torch.tensor(window, device=device)[None])
            while isinstance(output, (tuple, list)) and output:
                output = output[0]
            frames = np.asarray(output.float().cpu().numpy(), np.float32)
    except (RuntimeError, TypeError, AttributeError, AssertionError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ProgramError(f"fails on {len(window)} samples ({first:.200})") from error
    if frames.ndim == 2 and len(frames) == 1:
        frames = frames[:, None]
    if frames.ndim != 3 or len(frames) != 1 or 0 in frames.shape:
        raise ProgramError(
            f"must return (1, n_frames, n_bins) or (1, n_bins) for (1, n_samples), but for "
            f"{len(window)} samples it returned {frames.shape}"
        )
    return frames


@contextmanager
def repeatable() -> Iterator[None]:
    """One thread, as workers use all cores, and deterministic results on a GPU."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(n_threads)
