"""Reads a sound file block by block, and collects the samples; trusts no length.

`datasets.decoding.decode` uses it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

_BLOCK_SAMPLES = 2**16  # of all channels together: fits in a core's cache
_CAREFUL_BLOCK = 1152  # samples of a channel; those of a block with an error are lost
_MAX_ERRORS = 64  # in a row
_FIRST_SAMPLES = 2**18  # where no number is expected
_GROWTH = 1.5


def read_blocks(
    sound: Any, n_frames: int | None, *, careful: bool
) -> Iterator[npt.NDArray[np.int16 | np.float32] | str]:
    """Blocks `(n, n_channels)` of at most `n_frames` samples, and the texts of errors.

    Each block is valid until the next one. 16-bit samples are int16, others float32.

    Args:
        sound: a `SequentialFile`.
        n_frames: the count of its header; None reads to its end.
        careful: goes on after an error, and reads small blocks, which is slow; otherwise an error
            is the end.
    """
    # libsndfile converts 16-bit samples to floats ten times slower than numpy
    dtype = np.dtype(np.int16 if sound.subtype == "PCM_16" else np.float32)
    n_block = _CAREFUL_BLOCK if careful else _BLOCK_SAMPLES // sound.channels
    block = np.empty((n_block, sound.channels), dtype)
    n_left = 2**62 if n_frames is None else n_frames
    n_errors = 0
    while n_left and n_errors < (_MAX_ERRORS if careful else 1):
        try:
            got = sound.read(out=block[:n_left])
        except soundfile.LibsndfileError as error:
            n_errors += 1
            yield error_text(error)
            continue
        if not len(got):  # the end of the file
            return
        n_errors = 0
        n_left -= len(got)
        yield got


def error_text(error: soundfile.LibsndfileError) -> str:
    """The reason that libsndfile gives, without its decoration."""
    return str(error.error_string).strip().removeprefix("Error : ").rstrip(".")


class Waveform:
    """A float32 waveform `(n,)` that grows; memory is in proportion to the samples it holds."""

    def __init__(self, expected: int) -> None:
        """Reserves memory for the `expected` number of samples."""
        self.n = 0
        self._samples = np.empty(expected or _FIRST_SAMPLES, np.float32)

    def added(self, n: int) -> npt.NDArray[np.float32]:
        """A view of the next `n` samples, to be written."""
        if self.n + n > len(self._samples):
            grown = np.empty(max(self.n + n, int(_GROWTH * len(self._samples))), np.float32)
            grown[: self.n] = self._samples[: self.n]
            self._samples = grown
        self.n += n
        return self._samples[self.n - n : self.n]

    def samples(self) -> npt.NDArray[np.float32]:
        """What was added, without the reserve."""
        whole = self.n == len(self._samples)
        return self._samples if whole else self._samples[: self.n].copy()
