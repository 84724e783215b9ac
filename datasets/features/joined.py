"""The frames of several feature sets side by side, such as those of several encoders.

`datasets.store.joining` joins stores that exist already, so that no encoder runs twice.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from chorale.datasets import audio
from chorale.datasets.base import Layout
from chorale.datasets.config import config as config_class
from chorale.datasets.config import read_config, to_plain_values
from chorale.datasets.errors import UserError
from chorale.datasets.features import layout_of, load_feature_set

VERSION = 1
LAYOUT: Layout = "embedding"
SPECTRAL = False
NO_NETWORK = "it joins several feature sets, which are separate programs"

Float32Array = npt.NDArray[np.float32]


@config_class
class Config:
    """The feature sets that are joined, in this order."""

    parts: dict[str, dict[str, Any]]
    """name of a feature set (`encoder-birdnet`) -> the values of its config"""

    def __post_init__(self) -> None:
        if len(self.parts) < 2:
            raise ValueError(f"parts should name two feature sets or more, but got {self.parts}")
        for name in self.parts:
            if layout_of(name) == "block_input":
                raise ValueError(
                    f"parts are frozen, but got '{name}', whose encoder is fine-tuned; join "
                    f"embeddings, such as encoder-musicnn"
                )
        try:
            configs = self.configs
        except UserError as error:
            raise ValueError(str(error)) from None
        # with what the parts fill in, such as the digest of their files
        object.__setattr__(self, "parts", {n: to_plain_values(one) for n, one in configs.items()})

    @cached_property
    def configs(self) -> Mapping[str, Any]:
        """The config of each part."""
        return {
            name: read_config(load_feature_set(name).Config, values, where=f"features.{name}")
            for name, values in self.parts.items()
        }

    @property
    def sample_rate(self) -> int:
        """Hz; the highest of the parts', so that none of them lacks what it reads."""
        return max(int(one.sample_rate) for one in self.configs.values())

    @property
    def n_bins(self) -> int:
        """Values in a frame: those of all parts."""
        return sum(int(one.n_bins) for one in self.configs.values())

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second: those of the part with the most."""
        return max(float(one.frame_rate_hz) for one in self.configs.values())


def extract(waveform: Float32Array, config: Config) -> Float32Array:
    """Each part's features of a track, joined as `join_frames` does.

    Args:
        waveform: float32 `(n_samples,)` at `config.sample_rate`, resampled for each part.
        config: the parts.

    Returns:
        float32 `(n_bins, n_frames)`.

    Source: side by side in one vector, as Turian et al. 2022, https://arxiv.org/abs/2203.03022,
    join the best of several encoders.
    """
    found = []
    for name, part in config.configs.items():
        rate = part.sample_rate
        same = rate == config.sample_rate
        own = waveform if same else audio.resample(waveform, config.sample_rate, rate)
        values = np.asarray(load_feature_set(name).extract(own, part), np.float32)
        found.append(values.reshape(part.n_bins, -1).T)
    return join_frames(found).T


def join_frames(parts: Sequence[Float32Array]) -> Float32Array:
    """Joins the frames of one track: float32 `(n_frames, sum of n_bins)`.

    The result has as many frames as the part with the most; a frame of another part is repeated
    over the time that it covers, as all parts span the same track.

    Args:
        parts: float32 `(n_frames, n_bins)`, each with at least one frame.
    """
    n_most = max(len(part) for part in parts)
    middles = (np.arange(n_most) + 0.5) / n_most
    rows = [part[(middles * len(part)).astype(np.int64)] for part in parts]
    return np.ascontiguousarray(np.concatenate(rows, axis=1), np.float32)
