"""Runs a pretrained encoder on windows of audio, whatever kind of file it is.

The feature set `encoder` calls `run_encoder`. A worker loads an encoder once and keeps it.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.added import load_added
from chorale.datasets.pretrained.installed import load_encoder
from chorale.datasets.programs import pipelines
from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.windows import Windows

Float32Array = npt.NDArray[np.float32]

MAX_LOADED = 4
"""Encoders that a process keeps loaded: a champion may hear through several."""


@dataclass(frozen=True)
class EncoderSource:
    """A file of weights, and what reads it: an encoder by `name`, a torchaudio pipeline, or itself.

    `layer` is the output of a named encoder, or the number of a pipeline's layer. `digest` is the
    SHA-256 of the file.
    """

    file: Path
    digest: str
    name: str = ""
    bundle: str = ""
    layer: str | int | None = None


def run_encoder(source: EncoderSource, windows: Float32Array) -> Float32Array:
    """The embeddings of some windows: float32 `(n_windows, n_frames, n_bins)`, finite.

    Args:
        source: the encoder.
        windows: float32 `(n_windows, n_samples)`.

    Raises:
        UserError: the file is missing, has changed or is damaged, or the encoder fails.
    """
    try:
        found = _loaded(source)(windows)
    except (ProgramError, RuntimeError, TypeError, AttributeError, AssertionError, ValueError) as e:
        raise _failed(source, f"fails on {windows.shape[1]} samples ({_first_line(e)})") from e
    if found.ndim != 3 or len(found) != len(windows) or 0 in found.shape:
        raise _failed(
            source,
            f"must return (1, n_frames, n_bins) or (1, n_bins) for (1, n_samples), but for "
            f"{windows.shape[1]} samples it returned {found.shape}",
        )
    if not np.isfinite(found).all():
        raise _failed(source, "returns numbers that are not finite")
    return found


def file_digest(file: Path) -> str:
    """The SHA-256 of a file, read again only if its size or modification time has changed."""
    stat = file.stat()
    return _sha256(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=MAX_LOADED)
def _loaded(source: EncoderSource) -> Windows:
    """Cached from track to track."""
    file = source.file
    if not file.is_file():
        fetch = f"; type: chorale encoder fetch {source.name}" if source.name else ""
        raise UserError(f"feature 'encoder': there is no file '{file}' on this machine{fetch}")
    if file_digest(file) != source.digest:
        raise UserError(
            f"feature 'encoder': '{file}' has changed since the sweep began, or is another file "
            f"on this machine; put the one with the SHA-256 {source.digest} there"
        )
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if source.name:
            return load_encoder(source.name, file, layer=str(source.layer), device=device)
        if source.bundle:
            layer = None if source.layer is None else int(source.layer)
            return pipelines.load_pipeline(source.bundle, file, layer=layer, device=device)
        return load_added(file, layer=str(source.layer or ""), device=device)
    except ProgramError as error:
        raise _failed(source, str(error)) from error


def _failed(source: EncoderSource, what: str) -> UserError:
    hint = "give another with --features.encoder.path, or check sample_rate and chunk_s"
    return UserError(f"feature 'encoder': '{source.file}' {what}; {hint}")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@lru_cache(maxsize=8)
def _sha256(file: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
