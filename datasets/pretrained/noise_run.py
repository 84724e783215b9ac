"""One run of an encoder on noise: the shape of its output, its speed and its memory."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import numpy as np

DEFAULT_WINDOW_S = 1.0
"""Seconds of noise for an encoder that reads windows of any length."""


@dataclass(frozen=True)
class NoiseRun:
    """What an encoder did with one window of noise."""

    window_s: float
    n_frames: int
    n_bins: int
    seconds_per_minute: float
    """of computation, for a minute of audio"""
    memory_mib: float
    """used by this process and those that it has started, with the encoder loaded"""


class NoiseRunError(Exception):
    """The encoder returned something else than its metadata state; the text is one line."""


def run_on_noise(
    encoder: "Callable[[np.ndarray], np.ndarray]",
    *,
    sample_rate: int,
    window_s: float | None,
    n_bins: int | None = None,
) -> NoiseRun:
    """Runs an encoder on a window of noise, twice, and times the second run.

    Args:
        encoder: from float32 `(n_windows, n_samples)` to `(n_windows, n_frames, n_bins)`.
        sample_rate: Hz.
        window_s: seconds of the window; None: any, so that `DEFAULT_WINDOW_S` are used.
        n_bins: the number of values that it should return in a frame; None: any.

    Raises:
        NoiseRunError: its output has another shape, or numbers that are not finite.
        ProgramError: it fails.
    """
    import numpy as np

    seconds = window_s or DEFAULT_WINDOW_S
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal((1, max(1, round(seconds * sample_rate))))
    window = noise.astype(np.float32)
    encoder(window)
    began = time.perf_counter()
    output = encoder(window)
    took_s = time.perf_counter() - began
    if output.ndim != 3 or len(output) != 1 or 0 in output.shape:
        raise NoiseRunError(
            f"must return (n_windows, n_frames, n_bins), but for one window it returned "
            f"{output.shape}"
        )
    if n_bins is not None and output.shape[2] != n_bins:
        raise NoiseRunError(
            f"must return {n_bins} values in a frame, but it returned {output.shape[2]}"
        )
    if not np.isfinite(output).all():
        raise NoiseRunError("returns numbers that are not finite")
    return NoiseRun(seconds, output.shape[1], output.shape[2], took_s * 60 / seconds, _memory_mib())


def _memory_mib() -> float:
    own = psutil.Process()
    total = 0
    for process in (own, *own.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1024**2
