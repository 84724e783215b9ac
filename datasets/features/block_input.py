"""The input of the last blocks of a pretrained encoder, for networks that train these blocks.

All before them is frozen and runs once for each track, so that a training pays for the last blocks
only. A sweep asks for it with `features: {encoder: {name: musicnn, fine_tune: 1}}`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from chorale.datasets.base import EncoderInfo, Layout
from chorale.datasets.config import config as config_class
from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.fine_tuning import check_blocks, default_layer, source_file
from chorale.datasets.pretrained.installed import encoder_info
from chorale.datasets.pretrained.running import EncoderSource, checked_digest
from chorale.datasets.pretrained.track_frames import (
    DEFAULT_CHUNK_S,
    ChunkedEncoder,
    chunk_shape,
    encode_track,
)

VERSION = 1
LAYOUT: Layout = "block_input"
SPECTRAL = False
NO_NETWORK = "it is a separate program that only PyTorch runs"

Float32Array = npt.NDArray[np.float32]


@config_class
class Config:
    """The encoder, and how many of its last blocks are trained."""

    name: str
    """an encoder of `chorale encoder list` with blocks that can be fine-tuned"""
    fine_tune: Annotated[int, Field(ge=1)] = 1
    """how many of the last blocks before `layer` are trained"""
    layer: str = ""
    """the output of the encoder that a network is put on; default: the first with such blocks"""
    path: str = ""
    """the encoder's file; default: the one that was fetched"""
    digest: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    """SHA-256 of the file; filled in automatically, and a file with another one is an error"""

    def __post_init__(self) -> None:
        try:
            if not self.layer:
                object.__setattr__(self, "layer", default_layer(self.name))
            check_blocks(self.name, layer=self.layer, n_blocks=self.fine_tune)
            file = self.file
            if not file.is_file():
                raise UserError(f"there is no file '{file}'; leave path out, or give the right one")
            object.__setattr__(self, "digest", checked_digest(file, self.digest))
        except UserError as error:
            raise ValueError(str(error)) from None

    @property
    def info(self) -> EncoderInfo:
        """The facts of the encoder."""
        return encoder_info(self.name)

    @property
    def file(self) -> Path:
        """The encoder's file, which may not exist."""
        return source_file(self.name, self.path)

    @property
    def sample_rate(self) -> int:
        """Hz; the encoder's own."""
        return self.info.sample_rate

    @property
    def chunked(self) -> ChunkedEncoder:
        """What `encode_track` runs."""
        info = self.info
        n_chunk = round((info.window_s or DEFAULT_CHUNK_S) * info.sample_rate)
        source = EncoderSource(
            self.file, self.digest, self.name, layer=self.layer, n_blocks=self.fine_tune
        )
        return ChunkedEncoder(source, n_chunk, whole_windows=info.window_s is not None)

    @property
    def n_bins(self) -> int:
        """Values in a frame, measured by running the frozen part once."""
        return chunk_shape(self.chunked).n_bins

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second, measured likewise."""
        chunked = self.chunked
        return chunk_shape(chunked).n_frames * self.sample_rate / chunked.n_chunk

    @property
    def network_values(self) -> Mapping[str, Any]:
        """What the config of the architecture `encoder_blocks` needs to know."""
        return {
            "encoder": self.name,
            "layer": self.layer,
            "fine_tune": self.fine_tune,
            "path": self.path,
            "digest": self.digest,
        }


def extract(waveform: Float32Array, config: Config) -> Float32Array:
    """The input of the last blocks of a track, computed in chunks (see `encode_track`).

    Args:
        waveform: float32 `(n_samples,)` at `config.sample_rate`, not empty.
        config: the encoder and its blocks.

    Returns:
        float32 `(n_bins, n_frames)`.

    Raises:
        ValueError: `waveform` is empty.
        UserError: the encoder's file is damaged, or it fails on the track.

    Source: the features of a frozen part as a cached input of what is trained, as Donahue et al.,
    "DeCAF", 2014, https://arxiv.org/abs/1310.1531; training the last blocks too, as Yosinski et
    al., "How transferable are features in deep neural networks?", 2014,
    https://arxiv.org/abs/1411.1792.
    """
    return encode_track(waveform, config.chunked).T
