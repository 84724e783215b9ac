"""Embeddings of a frozen pretrained encoder, for a linear probe or a small head.

The feature cache calls `extract` once for each track, so that a search over heads never runs the
encoder. It is one of `chorale encoder list`, the user's own file (see
`datasets.programs.exported_program`), or weights for a torchaudio pipeline.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from chorale.datasets.base import ALL_LAYERS, EncoderInfo, Layout
from chorale.datasets.config import config as config_class
from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.added import check_added
from chorale.datasets.pretrained.installed import encoder_info, require_fetched
from chorale.datasets.pretrained.running import EncoderSource, checked_digest
from chorale.datasets.pretrained.track_frames import (
    DEFAULT_CHUNK_S,
    ChunkedEncoder,
    chunk_shape,
    encode_track,
)
from chorale.datasets.programs import exported_program, pipelines

VERSION = 2
LAYOUT: Layout = "embedding"
SPECTRAL = False
NO_NETWORK = "it is a separate program that only PyTorch runs"

Float32Array = npt.NDArray[np.float32]

DEFAULT_RATE = 16_000
"""Hz, where an encoder is given by its file and no rate is named."""


@config_class
class Config:
    """The encoder, the chunk length of its input, and which outputs are used."""

    name: str = ""
    """an encoder of `chorale encoder list`, such as birdnet; its rate and windows are its own"""
    path: str = ""
    """the encoder: a program of torch.export (.pt2) or TorchScript (.pt), a tflite or an ONNX file
    that takes (1, n_samples) and returns (1, n_frames, n_bins) or (1, n_bins); with `bundle` or
    `name`, its weights"""
    bundle: str = ""
    """a wav2vec 2.0, HuBERT or WavLM of torchaudio.pipelines, such as WAV2VEC2_BASE; without
    `path` its weights are those in torchaudio's cache"""
    layer: Annotated[int, Field(ge=1)] | str | None = None
    """which output of the encoder `name` (all: side by side) or of a tflite or ONNX file is used,
    or which transformer layer of `bundle`, counted from 1; default: the first output, the last
    layer"""
    sample_rate: Annotated[int, Field(ge=1_000, le=384_000)] | None = None
    """Hz; the rate that the encoder was trained with; default: that of `name`, or else 16,000"""
    chunk_s: Annotated[float, Field(gt=0, le=600)] | None = None
    """seconds of audio per forward pass, which bounds the memory; default: the windows of `name`,
    or else 10"""
    whole_windows: bool = False
    """whether the encoder is only given audio of `chunk_s` seconds, shorter tracks padded with
    zeros; always of a `name` with windows"""
    pool: Annotated[int, Field(ge=1, le=100_000)] = 1
    """number of consecutive frames that are averaged into one, to make the cache smaller"""
    digest: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    """SHA-256 of the file; filled in automatically, and a file with another one is an error"""

    def __post_init__(self) -> None:
        if not (self.name or self.path or self.bundle):
            raise ValueError(
                "give an encoder of `chorale encoder list` with --features.encoder NAME, your own "
                "with --features.encoder.path FILE (.pt2, .pt, .onnx, .tflite), or a pipeline with "
                "--features.encoder.bundle WAV2VEC2_BASE"
            )
        try:
            if self.name:
                _check_named(self)
            file = self.file
        except UserError as error:
            raise ValueError(str(error)) from None
        self._fill("sample_rate", DEFAULT_RATE)
        self._fill("chunk_s", DEFAULT_CHUNK_S)
        if not file.is_file():
            how = "give the right one" if self.path else pipelines.fetch_instructions(self.bundle)
            raise ValueError(f"there is no file '{file}'; {how} with --features.encoder.path FILE")
        if self.bundle:
            layer = _layer_number(self.layer)
            pipelines.check_pipeline(self.bundle, sample_rate=self.rate_hz, layer=layer)
        elif not self.name:
            _check_program(self)
        try:
            object.__setattr__(self, "digest", checked_digest(file, self.digest))
        except UserError as error:
            raise ValueError(str(error)) from None

    def _fill(self, field: str, value: object) -> None:
        """Sets a field that was left out."""
        if getattr(self, field) in (None, ""):
            object.__setattr__(self, field, value)

    @property
    def info(self) -> EncoderInfo | None:
        """The facts of an encoder by name; None for a file or a pipeline."""
        return encoder_info(self.name) if self.name else None

    @property
    def file(self) -> Path:
        """The program or weights: those given, those fetched, or those in torchaudio's cache."""
        if self.path:
            return Path(self.path).expanduser()
        return require_fetched(self.name) if self.name else pipelines.fetched_weights(self.bundle)

    @property
    def source(self) -> EncoderSource:
        """What `run_encoder` runs."""
        return EncoderSource(self.file, self.digest, self.name, self.bundle, self.layer)

    @property
    def rate_hz(self) -> int:
        """`sample_rate`, which is always set after construction."""
        return self.sample_rate or DEFAULT_RATE

    @property
    def n_chunk(self) -> int:
        """Samples per forward pass."""
        return max(1, round((self.chunk_s or DEFAULT_CHUNK_S) * self.rate_hz))

    @property
    def chunked(self) -> ChunkedEncoder:
        """What `encode_track` runs."""
        return ChunkedEncoder(self.source, self.n_chunk, self.whole_windows)

    @property
    def n_bins(self) -> int:
        """Values in a frame; of a file or a pipeline measured by running it once."""
        info = self.info
        if info is None:
            return chunk_shape(self.chunked).n_bins
        start, stop = layer_columns(info, str(self.layer))
        return stop - start

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second, measured by running the encoder once."""
        return chunk_shape(self.chunked).n_frames * self.rate_hz / self.n_chunk / self.pool


def extract(waveform: Float32Array, config: Config) -> Float32Array:
    """The embeddings of a track, computed in chunks (see `encode_track`).

    Args:
        waveform: float32 `(n_samples,)` at `config.sample_rate`, not empty.
        config: the encoder, and which outputs are used.

    Returns:
        float32 `(n_bins, n_frames)`.

    Raises:
        ValueError: `waveform` is empty.
        UserError: the encoder's file is damaged or unsuitable, or it fails on the track.

    Source: Turian et al., "HEAR: Holistic Evaluation of Audio Representations", 2022,
    https://arxiv.org/abs/2203.03022 (frozen encoders under a small head); the pipelines are of
    Baevski et al., "wav2vec 2.0", 2020, https://arxiv.org/abs/2006.11477, and its successors.
    """
    return _pooled(encode_track(waveform, config.chunked), config.pool).T


def _pooled(frames: Float32Array, n: int) -> Float32Array:
    if n == 1:
        return frames
    starts = np.arange(0, len(frames), n)
    sums = np.add.reduceat(frames, starts, axis=0)
    sizes = np.diff(np.append(starts, len(frames)))[:, None]
    return np.asarray(sums / sizes, np.float32)


def layer_columns(info: EncoderInfo, layer: str) -> tuple[int, int]:
    """The first column of a layer among those of all layers, and the one after its last."""
    if layer == ALL_LAYERS:
        return 0, sum(info.layers.values())
    names = list(info.layers)
    start = sum(info.layers[name] for name in names[: names.index(layer)])
    return start, start + info.layers[layer]


def _check_named(config: Config) -> None:
    """Checks what is given besides the name, and fills in what the encoder determines."""
    if config.bundle:
        raise ValueError(
            f"name={config.name} and bundle={config.bundle} are two encoders; give one"
        )
    info = encoder_info(config.name)
    config._fill("layer", next(iter(info.layers)))
    allowed = [*info.layers, *([ALL_LAYERS] if len(info.layers) > 1 else [])]
    if config.layer not in allowed:
        known = ", ".join(allowed)
        raise ValueError(f"{config.name} has the outputs {known}, but got layer={config.layer}")
    for field, own in (("sample_rate", info.sample_rate), ("chunk_s", info.window_s)):
        got = getattr(config, field)
        if got and own is not None and got != own:
            raise ValueError(f"{config.name} needs {field}={own:g}, but got {got:g}; leave it out")
        config._fill(field, own)
    if info.window_s is not None:
        object.__setattr__(config, "whole_windows", True)


def _layer_number(layer: int | str | None) -> int | None:
    if isinstance(layer, str):
        raise ValueError(f"layer={layer} should be a number, as it is a layer of a `bundle`")
    return layer


def _check_program(config: Config) -> None:
    layer = None if config.layer is None else str(config.layer)
    try:
        check_added(config.file, layer=layer)
    except exported_program.ProgramError as error:
        raise ValueError(f"'{config.file}' {error}") from None
    except UserError as error:
        raise ValueError(str(error)) from None
