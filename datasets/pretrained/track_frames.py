"""The frames of a whole track by an encoder, which runs in chunks of it.

The feature sets `encoder` and `block_input` call it.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.running import EncoderSource, run_encoder

Float32Array = npt.NDArray[np.float32]

MIN_CHUNK_DIVISOR = 8
"""A track shorter than a chunk divided by this is zero-padded to that length."""

DEFAULT_CHUNK_S = 10.0
"""Seconds of audio per forward pass of an encoder that reads any length."""


@dataclass(frozen=True)
class ChunkedEncoder:
    """An encoder, the samples of a chunk, and whether it is only given chunks of that length."""

    source: EncoderSource
    n_chunk: int
    whole_windows: bool


class ChunkShape(NamedTuple):
    """The output shape of one chunk, and whether the encoder accepts shorter ones, too."""

    n_frames: int
    n_bins: int
    any_length: bool


def encode_track(waveform: Float32Array, encoder: ChunkedEncoder) -> Float32Array:
    """The frames of a track, computed in chunks: float32 `(n_frames, n_bins)`.

    The last chunk starts earlier, so that it has full length; only its end is used. A shorter track
    is zero-padded for an encoder that reads one length.

    Args:
        waveform: float32 `(n_samples,)` at the encoder's rate, not empty.
        encoder: what runs.

    Raises:
        ValueError: `waveform` is empty.
        UserError: the encoder's file is damaged or unsuitable, or it fails on the track.
    """
    if waveform.ndim != 1 or len(waveform) == 0:
        raise ValueError(f"waveform must be (n_samples,) and not empty, but got {waveform.shape=}")
    shape, n_chunk, source = chunk_shape(encoder), encoder.n_chunk, encoder.source
    n_whole, n_rest = divmod(len(waveform), n_chunk)
    if n_whole == 0:
        shortest = -(-n_chunk // MIN_CHUNK_DIVISOR) if shape.any_length else n_chunk
        padded = np.pad(waveform, (0, max(0, shortest - n_rest)))
        short: Float32Array = run_encoder(source, padded[None])[0]
        n_kept = max(1, round(n_rest * shape.n_frames / n_chunk))
        return short[:n_kept] if n_rest < shortest else short
    n_kept = round(n_rest * shape.n_frames / n_chunk)
    if n_rest and shape.n_frames == 1:
        n_kept = 1  # an embedding of the whole chunk: one more, or the end would not be read
    whole = run_encoder(source, waveform[: n_whole * n_chunk].reshape(n_whole, n_chunk))
    frames = whole.reshape(-1, whole.shape[2])
    if n_kept:
        last = run_encoder(source, waveform[None, -n_chunk:])[0]
        frames = np.concatenate([frames, last[-n_kept:]])
    return frames


@lru_cache(maxsize=8)
def chunk_shape(encoder: ChunkedEncoder) -> ChunkShape:
    """What an encoder returns for a chunk, by running it on noise.

    Raises:
        UserError: it cannot be run.
    """
    rng = np.random.default_rng(0)
    chunk = 0.1 * rng.standard_normal((1, encoder.n_chunk)).astype(np.float32)
    source = encoder.source
    _, n_frames, n_bins = run_encoder(source, chunk).shape
    any_length = n_frames > 1 and not encoder.whole_windows
    for part in (MIN_CHUNK_DIVISOR, 2) if any_length else ():
        n_samples = -(-encoder.n_chunk // part)
        try:
            got = run_encoder(source, chunk[:, :n_samples]).shape[1]
        except UserError:
            got = 0
        any_length = any_length and got > 0 and abs(got - n_frames / part) <= 1
    return ChunkShape(n_frames, n_bins, any_length)
