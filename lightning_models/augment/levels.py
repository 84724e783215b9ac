"""Pitch shift, noise and gain of sound, made to the levels of its bands instead.

`batches` applies them to raw training crops, a batch at once, on the batch's own device. The tests
certify each against features of sound that was really changed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorale.datasets.dsp.frequency_scale import MIN_DB, Scale
from chorale.datasets.errors import UserError
from chorale.lightning_models.train_config import TrainConfig

NOISE_RANGE_DB = 20.0
"""A noisy crop's ratio of signal to noise is at most so much above the lowest."""

NOISY_SHARE = 0.5
"""The share of crops that get noise, where noise is on."""

NOISE_VALUES = 2**19
"""About how many values of noise are made once, for crops to take theirs from (2 MB)."""

OFF = {"pitch": "0", "noise": "false", "gain_db": "0"}
"""How each change is switched off, as it is written in a sweep's file."""

DB = float(np.log(10) / 10)
"""A level in dB times this is the natural logarithm of a power."""


def shift_pitch(levels: Tensor, *, semitones: Tensor, centers_hz: Tensor) -> Tensor:
    """Moves what a band shows to where it is after a shift of pitch.

    What would come from beyond the outermost bands is not known; they stand for it.

    Args:
        levels: (batch, n_frames, n_bands), in dB.
        semitones: (batch,), up or down.
        centers_hz: (n_bands,), rising.
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
    """Adds noise as loud as a ratio of signal to noise says: a ratio of mean squares of a crop.

    Args:
        levels: (batch, n_frames, n_bands), in dB.
        noise: of the same shape: the power of noise of mean square 1.
        snr_db: (batch,).
        weights: (n_bands,), of the power in the bands within the mean square (see `Scale`).
        inside: (batch, n_frames), false where a crop reaches beyond its track; none where it does
            not.
    """
    power = (levels * DB).exp_()
    signal = power @ weights  # (batch, n_frames)
    if inside is not None:
        signal = signal * inside
    n_inside = levels.shape[1] if inside is None else inside.sum(dim=1).clamp(min=1)
    loudness = signal.sum(dim=1) / n_inside * torch.exp(-snr_db * DB)
    return power.addcmul_(noise, loudness.view(-1, 1, 1)).log_().div_(DB)


Change = Callable[[Tensor, Tensor | None], Tensor]
"""Raw crops (batch, n_frames, n_bins), and where they are inside their tracks (see `add_noise`) ->
the crops as they would be had the sound been changed."""


class SoundChanges:
    """Pitch shift, noise and gain in this order, each where a training config switches it on.

    A gain is exact: levels are relative to 1, and their floor, 80 dB below the loudest, moves with
    them. Coefficients go back to the levels that they stand for, smoothed by what was truncated,
    and forward again. Smoothed, sound with sharp peaks seems some dB softer than it is, so its
    noise is softer by as much.
    """

    def __init__(
        self,
        settings: TrainConfig,
        scale: Scale,
        *,
        n_frames: int,
        rng: np.random.Generator,
        device: torch.device,
    ) -> None:
        """What crops of `n_frames` frames need; `rng` makes the noise."""
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

    def draw(self, n: int, rng: np.random.Generator) -> Change:
        """How the next batch, of `n` crops, is changed."""
        settings = self.settings
        semitones = self._sent(rng.uniform(-settings.pitch, settings.pitch, n))
        gain_db = self._sent(rng.uniform(-settings.gain_db, settings.gain_db, n).astype(np.float32))
        noisy = np.flatnonzero(rng.random(n) < NOISY_SHARE) if settings.noise else np.empty(0, int)
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


def sound_changes(
    settings: TrainConfig,
    scale: Scale | None,
    *,
    n_frames: int,
    rng: np.random.Generator,
    device: torch.device,
) -> SoundChanges | None:
    """What a training config asks for, of features on `scale`; none where that is nothing.

    Raises:
        UserError: it asks for something, and the features are no levels of known bands.
    """
    wanted = [name for name in ("pitch", "noise", "gain_db") if getattr(settings, name)]
    if not wanted:
        return None
    if scale is None:
        off = ", ".join(f"train.{name}: {OFF[name]}" for name in wanted)
        raise UserError(
            f"train.{', train.'.join(wanted)} change the levels of bands of frequency, but these "
            f"features have no such bands; write {off}, or take mel, mfcc or stft"
        )
    return SoundChanges(settings, scale, n_frames=n_frames, rng=rng, device=device)
