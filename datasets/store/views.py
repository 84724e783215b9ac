"""Augmented views of recordings: the waveform that a feature set reads instead of the recording.

View 0 is the recording as it is. A perturbation depends on the content and the view's number alone,
so that a cache is the same whatever the order of the tracks, the seed of the search or the encoder.
"""

import numpy as np
import numpy.typing as npt

from chorale.datasets.dsp import perturbation
from chorale.datasets.seeds import Purpose, random_generator

VERSION = perturbation.VERSION
"""Part of the cache key of every view but the first."""


def view_waveform(
    waveform: npt.NDArray[np.float32], sample_rate: int, *, content: str, view: int
) -> npt.NDArray[np.float32]:
    """A view of a recording: float32 `(n,)`, up to a fifth shorter.

    Args:
        waveform: float32 `(n_samples,)`, not empty.
        sample_rate: Hz.
        content: the SHA-256 of the file, as hexadecimal digits.
        view: 0 for `waveform` itself.
    """
    if view == 0:
        return waveform
    rng = random_generator(0, Purpose.VIEW, view, int(content, 16))
    return perturbation.perturbed(waveform, sample_rate, rng)
