"""Random perturbation of a waveform as data augmentation: a crop, another gain, white noise.

`datasets.store.views` perturbs recordings before an encoder reads them.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

VERSION = 1
"""Raised when `perturbed` returns other numbers, so that caches are rebuilt."""

MAX_CROPPED_SHARE = 0.2
"""The largest share of a recording that is cut off, at both ends together."""

MAX_CROPPED_S = 3.0
"""The most seconds that are cut off: the windows of most encoders are no longer than that."""

GAIN_DB = (-12.0, 6.0)
"""The range of the gain in dB; it never takes a sample beyond full scale."""

SNR_DB = (10.0, 40.0)
"""The range of the signal-to-noise ratio in dB, over the whole recording."""


class Perturbation(NamedTuple):
    """The seconds cut off at the start and at the end of a recording, its gain and its SNR."""

    start_s: float
    end_s: float
    gain_db: float
    snr_db: float


def draw_perturbation(duration_s: float, rng: np.random.Generator) -> Perturbation:
    """Draws a perturbation of a recording of `duration_s` seconds.

    It takes four numbers from `rng`, whatever the recording is.

    Source: Salamon and Bello 2017, "Deep Convolutional Neural Networks and Data Augmentation for
    Environmental Sound Classification", arXiv:1608.04363 (added noise); Ko et al. 2017, "A study on
    data augmentation of reverberant speech for robust speech recognition",
    doi:10.1109/ICASSP.2017.7953152 (SNR drawn at random).
    """
    cropped_s = rng.random() * min(MAX_CROPPED_S, MAX_CROPPED_SHARE * duration_s)
    start_s = rng.random() * cropped_s
    return Perturbation(start_s, cropped_s - start_s, rng.uniform(*GAIN_DB), rng.uniform(*SNR_DB))


def perturbed(waveform: Float32Array, sample_rate: int, rng: np.random.Generator) -> Float32Array:
    """The waveform with a perturbation drawn from `rng`: cut, with noise, then with the gain.

    At two sample rates the same generator state gives the same crop, gain and SNR.

    Args:
        waveform: float32 `(n_samples,)`, not empty.
        sample_rate: Hz.
        rng: the random generator.

    Returns:
        float32 `(n,)`, of at least one sample; finite where `waveform` is.
    """
    drawn = draw_perturbation(len(waveform) / sample_rate, rng)
    start, end = (round(seconds * sample_rate) for seconds in (drawn.start_s, drawn.end_s))
    kept = waveform[start : max(start + 1, len(waveform) - end)].astype(np.float64)
    level = np.sqrt(np.mean(kept**2))
    noise = rng.standard_normal(len(kept))
    made = kept + noise * level * 10 ** (-drawn.snr_db / 20)
    peak = float(np.abs(made).max())
    room_db = -20 * np.log10(peak) if peak > 0 else 0.0
    made *= 10 ** (min(drawn.gain_db, max(0.0, room_db)) / 20)
    return np.asarray(made, np.float32)
