"""Embeddings of a frozen pretrained encoder, for a linear probe or a small head.

The feature cache calls `extract` once for each track, so that a search over heads never runs the
encoder. The encoder is the user's file (see `datasets.programs.exported_program`), or weights for a
torchaudio pipeline.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from chorale.datasets.base import Layout
from chorale.datasets.config import config as config_class
from chorale.datasets.errors import UserError
from chorale.datasets.programs import exported_program, pipelines

VERSION = 1
LAYOUT: Layout = "embedding"
SPECTRAL = False
NO_NETWORK = "it is a separate program that only PyTorch runs"

Float32Array = npt.NDArray[np.float32]

MIN_CHUNK_DIVISOR = 8
"""A track shorter than a chunk divided by this is zero-padded to that length."""


@config_class
class Config:
    """The encoder, the chunk length of its input, and which outputs are used."""

    path: str = ""
    """the encoder: a program of torch.export (.pt2) or TorchScript (.pt) that takes (1, n_samples)
    and returns (1, n_frames, n_bins) or (1, n_bins); with `bundle`, its weights (.safetensors or
    .pth)"""
    bundle: str = ""
    """a wav2vec 2.0, HuBERT or WavLM of torchaudio.pipelines, such as WAV2VEC2_BASE; without
    `path` its weights are those in torchaudio's cache"""
    layer: Annotated[int, Field(ge=1)] | None = None
    """which transformer layer of `bundle` is used, counted from 1; default: the last"""
    sample_rate: Annotated[int, Field(ge=1_000, le=384_000)] = 16_000
    """Hz; the rate that the encoder was trained with"""
    chunk_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """seconds of audio per forward pass; bounds the memory"""
    pool: Annotated[int, Field(ge=1, le=100_000)] = 1
    """number of consecutive frames that are averaged into one, to make the cache smaller"""
    digest: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    """SHA-256 of the file; filled in automatically, and a file with another one is an error"""

    def __post_init__(self) -> None:
        if not (self.path or self.bundle):
            raise ValueError(
                "give the encoder's file with --features.encoder.path FILE (.pt2 or .pt), "
                "or name a pipeline with --features.encoder.bundle WAV2VEC2_BASE"
            )
        file = self.file
        if not file.is_file():
            how = "give the right one" if self.path else pipelines.fetch_instructions(self.bundle)
            raise ValueError(f"there is no file '{file}'; {how} with --features.encoder.path FILE")
        if self.bundle:
            pipelines.check_pipeline(self.bundle, sample_rate=self.sample_rate, layer=self.layer)
        else:
            _check_program(self)
        found = _sha256(file, file.stat().st_size, file.stat().st_mtime_ns)
        if self.digest not in ("", found):
            raise ValueError(
                f"'{file}' is another file than the one meant: its SHA-256 is {found}, but "
                f"digest={self.digest}; give that file, or leave digest out"
            )
        object.__setattr__(self, "digest", found)

    @property
    def file(self) -> Path:
        """The program, or the weights: those given, or those in torchaudio's cache."""
        if self.path:
            return Path(self.path).expanduser()
        return pipelines.fetched_weights(self.bundle)

    @property
    def n_chunk(self) -> int:
        """Samples per forward pass."""
        return max(1, round(self.chunk_s * self.sample_rate))

    @property
    def n_bins(self) -> int:
        """Values in a frame, measured by running the encoder once."""
        return _probe(self).n_bins

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second, measured by running the encoder once."""
        return _probe(self).n_frames * self.sample_rate / self.n_chunk / self.pool


def extract(waveform: Float32Array, config: Config) -> Float32Array:
    """The embeddings of a track, computed in chunks.

    The last chunk starts earlier, so that it has full length; only its end is used. A shorter track
    is zero-padded for a program that was exported for one length.

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
    if waveform.ndim != 1 or len(waveform) == 0:
        raise ValueError(f"waveform must be (n_samples,) and not empty, but got {waveform.shape=}")
    probe, n_chunk = _probe(config), config.n_chunk
    per_sample = probe.n_frames / n_chunk
    n_whole, n_rest = divmod(len(waveform), n_chunk)
    outputs = [_run(waveform[i * n_chunk :][:n_chunk], config) for i in range(n_whole)]
    n_kept = round(n_rest * per_sample)
    if n_whole == 0:
        shortest = -(-n_chunk // MIN_CHUNK_DIVISOR) if probe.any_length else n_chunk
        frames = _run(np.pad(waveform, (0, max(0, shortest - n_rest))), config)
        outputs = [frames[: max(1, n_kept)] if n_rest < shortest else frames]
    elif n_kept:
        outputs.append(_run(waveform[-n_chunk:], config)[-n_kept:])
    return _pooled(np.concatenate(outputs), config.pool).T


def _pooled(frames: Float32Array, n: int) -> Float32Array:
    if n == 1:
        return frames
    starts = np.arange(0, len(frames), n)
    sums = np.add.reduceat(frames, starts, axis=0)
    sizes = np.diff(np.append(starts, len(frames)))[:, None]
    return np.asarray(sums / sizes, np.float32)


class _Probe(NamedTuple):
    """The output shape of one chunk, and whether the encoder accepts shorter ones, too."""

    n_frames: int
    n_bins: int
    any_length: bool


@lru_cache(maxsize=8)
def _probe(config: Config) -> _Probe:
    rng = np.random.default_rng(0)
    chunk = 0.1 * rng.standard_normal(config.n_chunk).astype(np.float32)
    n_frames, n_bins = _run(chunk, config).shape
    any_length = n_frames > 1
    for part in (MIN_CHUNK_DIVISOR, 2):
        n_samples = -(-config.n_chunk // part)
        try:
            got = len(_run(chunk[:n_samples], config))
        except UserError:
            got = 0
        any_length = any_length and got > 0 and abs(got - n_frames / part) <= 1
    return _Probe(n_frames, n_bins, any_length)


def _run(chunk: Float32Array, config: Config) -> Float32Array:
    """`(n_samples,)` -> `(n_frames, n_bins)`."""
    import torch

    encoder, device = _encoder(config)
    try:
        with _repeatable(), torch.inference_mode():
            output = encoder(torch.tensor(chunk, device=device)[None])
            while isinstance(output, (tuple, list)) and output:
                output = output[0]
            frames = np.asarray(output.float().cpu().numpy(), np.float32)
    except (RuntimeError, TypeError, AttributeError, AssertionError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _failed(config, f"fails on {len(chunk)} samples ({first:.200})") from error
    if frames.ndim == 2 and len(frames) == 1:
        frames = frames[:, None]
    if frames.ndim != 3 or len(frames) != 1 or 0 in frames.shape:
        raise _failed(
            config,
            f"must return (1, n_frames, n_bins) or (1, n_bins) for (1, n_samples), but for "
            f"{len(chunk)} samples it returned {frames.shape}",
        )
    if not np.isfinite(frames).all():
        raise _failed(config, "returns numbers that are not finite")
    return np.asarray(frames[0])


def _failed(config: Config, what: str) -> UserError:
    hint = "give another with --features.encoder.path, or check sample_rate and chunk_s"
    return UserError(f"feature 'encoder': '{config.file}' {what}; {hint}")


@contextmanager
def _repeatable() -> Iterator[None]:
    """One thread, as workers use all cores, and deterministic results on a GPU."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(n_threads)


@lru_cache(maxsize=1)
def _encoder(config: Config) -> tuple[exported_program.Program, str]:
    """The encoder and its device; cached from track to track."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    file = config.file
    if not file.is_file():
        raise UserError(f"feature 'encoder': there is no file '{file}' on this machine")
    if _sha256(file, file.stat().st_size, file.stat().st_mtime_ns) != config.digest:
        raise UserError(
            f"feature 'encoder': '{file}' has changed since the sweep began, or is another file "
            f"on this machine; put the one with the SHA-256 {config.digest} there"
        )
    try:
        if config.bundle:
            made = pipelines.load_pipeline(config.bundle, file, layer=config.layer, device=device)
            return made, device
        return exported_program.load_program(file, device), device
    except exported_program.ProgramError as error:
        raise _failed(config, str(error)) from error


def _check_program(config: Config) -> None:
    file = config.file
    if config.layer is not None:
        raise ValueError(f"layer={config.layer} needs a `bundle`; a program has one output")
    if file.suffix not in (exported_program.EXPORTED_SUFFIX, exported_program.SCRIPTED_SUFFIX):
        raise ValueError(
            f"'{file}' ends with neither .pt2 (torch.export.save) nor .pt (torch.jit.save); "
            f"weights alone need a `bundle`"
        )
    try:
        exported_program.check_program(file)
    except exported_program.ProgramError as error:
        raise ValueError(f"'{file}' {error}") from None


@lru_cache(maxsize=8)
def _sha256(file: Path, size: int, mtime_ns: int) -> str:
    """Reads a file again only if its size or modification time has changed."""
    del size, mtime_ns
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
