"""Pitch shift, noise and gain augmentation, applied to band levels instead of waveforms.

`data.batches` applies them to raw training crops, a batch at a time, on the batch's own device. The
tests compare each with features of really changed audio.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorale.datasets.dsp.frequency_scale import MIN_DB, FrequencyScale
from chorale.datasets.errors import UserError
from chorale.lightning_models.train_config import TrainConfig

NOISE_RANGE_DB = 20.0
"""A noisy crop's signal-to-noise ratio is at most this far above the lowest."""

NOISE_PROBABILITY = 0.5
"""The probability that a crop gets noise, if noise is on."""

NOISE_VALUES = 2**19
"""About how many noise values are generated once, from which crops take theirs (2 MB)."""

SWITCHED_OFF = {"pitch": "0", "noise": "false", "gain_db": "0"}
"""The value that switches each augmentation off, as in a sweep file."""

DB = float(np.log(10) / 10)
"""A level in dB times this is the natural logarithm of a power."""


def shift_pitch(levels: Tensor, *, semitones: Tensor, centers_hz: Tensor) -> Tensor:
    """Pitch shift: resamples the levels along the frequency axis.

    Levels beyond the outermost bands are unknown; those bands' levels are used.

    Args:
        levels: (batch, n_frames, n_bands), in dB.
        semitones: (batch,), up or down.
        centers_hz: (n_bands,), ascending.
    """
    came_from_hz = centers_hz / torch.exp2(semitones / 12).unsqueeze(1)  # (batch, n_bands)
    came_from_hz = came_from_hz.clamp(centers_hz[0], centers_hz[-1])
    above = torch.searchsorted(centers_hz, came_from_hz).clamp(1, len(centers_hz) - 1)
    below_hz, above_hz = centers_hz[above - 1], centers_hz[above]
    share = ((came_from_hz - below_hz) / (above_hz - below_hz)).to(levels.dtype)
    above = above.unsqueeze(1).expand_as(levels)
    return torch.lerp(levels.gather(2, above - 1), levels.gather(2, above), share.unsqueeze(1))


def add_noise(
    levels: Tensor, *, noise: Tensor, snr_db: Tensor, weights: Tensor, inside: Tensor | None
) -> Tensor:
    """Adds noise at a given signal-to-noise ratio: the ratio of a crop's mean squares.

    Args:
        levels: (batch, n_frames, n_bands), in dB.
        noise: of the same shape: the power of noise of mean square 1.
        snr_db: (batch,).
        weights: (n_bands,), of the bands' power in the mean square (see `FrequencyScale`).
        inside: (batch, n_frames), false where a crop is padded; None where none is.
    """
    power = (levels * DB).exp_()
    signal = power @ weights  # (batch, n_frames)
    if inside is not None:
        signal = signal * inside
    n_inside = levels.shape[1] if inside is None else inside.sum(dim=1).clamp(min=1)
    loudness = signal.sum(dim=1) / n_inside * torch.exp(-snr_db * DB)
    return power.addcmul_(noise, loudness.view(-1, 1, 1)).log_().div_(DB)


CropChange = Callable[[Tensor, Tensor | None], Tensor]
"""An augmentation: raw crops (batch, n_frames, n_bins), and the mask of frames inside their tracks
(see `add_noise`) -> augmented crops."""


class LevelAugmentation:
    """Pitch shift, noise and gain in this order, each if the training config switches it on.

    Gain is exact: levels are relative to 1, and their floor, 80 dB below the loudest, moves with
    them. Cepstral coefficients are transformed back to levels, which the truncation has smoothed,
    and forward again. Smoothing lowers sharp peaks by some dB, and the noise with them.
    """

    def __init__(
        self,
        settings: TrainConfig,
        scale: FrequencyScale,
        *,
        n_frames: int,
        rng: np.random.Generator,
        device: torch.device,
    ) -> None:
        """Prepares crops of `n_frames` frames; `rng` draws the noise."""
        self.settings = settings
        self.n_frames = n_frames
        self._centers_hz = torch.from_numpy(scale.centers_hz).to(device)
        self._weights = torch.from_numpy(scale.weights.astype(np.float32)).to(device)
        cosines = scale.cosines()
        self._cosines = None if cosines is None else torch.from_numpy(cosines).to(device)
        self._device = device
        self._noise = torch.empty(0)
        if settings.noise:
            n_noise = n_frames + NOISE_VALUES // scale.n_bands
            self._noise = torch.from_numpy(scale.white_noise(n_noise, rng)).to(device)

    def draw(self, n: int, rng: np.random.Generator) -> CropChange:
        """Draws the augmentation of the next batch, of `n` crops."""
        settings = self.settings
        semitones = self._sent(rng.uniform(-settings.pitch, settings.pitch, n))
        gain_db = self._sent(rng.uniform(-settings.gain_db, settings.gain_db, n).astype(np.float32))
        noisy = (
            np.flatnonzero(rng.random(n) < NOISE_PROBABILITY)
            if settings.noise
            else np.empty(0, int)
        )
        lowest = settings.noise_snr_db
        snr_db = self._sent(rng.uniform(lowest, lowest + NOISE_RANGE_DB, n).astype(np.float32))
        first = rng.integers(max(1, len(self._noise) - self.n_frames + 1), size=n)
        places = self._sent(first[noisy, None] + np.arange(self.n_frames))
        chosen = self._sent(noisy)

        def change(x: Tensor, inside: Tensor | None) -> Tensor:
            cosines = self._cosines
            before = x if cosines is None else x @ cosines.T
            levels = before
            if settings.pitch:
                levels = shift_pitch(levels, semitones=semitones, centers_hz=self._centers_hz)
            if len(noisy):
                quiet = levels.index_select(0, chosen)
                noise = self._noise.index_select(0, places.flatten()).view_as(quiet)
                loud = add_noise(
                    quiet,
                    noise=noise,
                    snr_db=snr_db[chosen],
                    weights=self._weights,
                    inside=None if inside is None else inside.index_select(0, chosen),
                )
                levels = levels.index_copy(0, chosen, loud)
            if settings.gain_db:
                levels = (levels + gain_db.view(-1, 1, 1)).clamp(min=MIN_DB)
            return levels if cosines is None else x + (levels - before) @ cosines

        return change

    def _sent(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).to(self._device)


def level_augmentation(
    settings: TrainConfig,
    scale: FrequencyScale | None,
    *,
    n_frames: int,
    rng: np.random.Generator,
    device: torch.device,
) -> LevelAugmentation | None:
    """The augmentations of a training config for features on `scale`; None where all are off.

    Raises:
        UserError: one is on, and the features are not levels of known bands.
    """
    wanted = [name for name in ("pitch", "noise", "gain_db") if getattr(settings, name)]
    if not wanted:
        return None
    if scale is None:
        off = ", ".join(f"train.{name}: {SWITCHED_OFF[name]}" for name in wanted)
        raise UserError(
            f"train.{', train.'.join(wanted)} change the levels of frequency bands, but these "
            f"features have no such bands; write {off}, or use mel, mfcc or stft"
        )
    return LevelAugmentation(settings, scale, n_frames=n_frames, rng=rng, device=device)
