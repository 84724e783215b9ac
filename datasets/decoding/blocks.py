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
_PIECE_SAMPLES = 2**20  # where no number is expected, or more come: 4 MiB


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


class GrowingWaveform:
    """A float32 waveform `(n,)` that grows; memory is in proportion to the samples it holds.

    It grows by whole pieces, which are released one by one when they are joined: a growing array
    is copied, and then takes twice its memory and more.
    """

    def __init__(self, expected: int) -> None:
        """Reserves memory for the `expected` number of samples."""
        self.n = 0
        self._pieces = [np.empty(expected or _PIECE_SAMPLES, np.float32)]
        self._n_used = [0]

    def added(self, n: int) -> npt.NDArray[np.float32]:
        """A view of the next `n` samples, to be written."""
        if self._n_used[-1] + n > len(self._pieces[-1]):
            self._pieces.append(np.empty(max(n, _PIECE_SAMPLES), np.float32))
            self._n_used.append(0)
        self.n += n
        self._n_used[-1] += n
        return self._pieces[-1][self._n_used[-1] - n : self._n_used[-1]]

    def samples(self) -> npt.NDArray[np.float32]:
        """What was added, without the reserve; nothing can be added afterwards."""
        if self.n == len(self._pieces[0]):
            return self._pieces[0]
        joined, at = np.empty(self.n, np.float32), 0
        for n in self._n_used:
            joined[at : at + n] = self._pieces.pop(0)[:n]
            at += n
        return joined
