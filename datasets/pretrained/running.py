"""Runs a pretrained encoder on windows of audio, whatever kind of file it is.

The feature set `encoder` calls `run_encoder`. A worker loads an encoder once and keeps it.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chorale.datasets.content import file_sha256
from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.added import load_added
from chorale.datasets.pretrained.installed import encoder_module, fetch_advice, load_encoder
from chorale.datasets.programs import guarded_program, pipelines
from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.windows import Windows, repeatable

Float32Array = npt.NDArray[np.float32]

MAX_LOADED = 4
"""Encoders that a process keeps loaded: a bundle may use several."""


@dataclass(frozen=True)
class EncoderSource:
    """A file of weights, and what reads it: an encoder by `name`, a torchaudio pipeline, or itself.

    `layer` is the output of a named encoder, or the number of a pipeline's layer. `digest` is the
    SHA-256 of the file. With `n_blocks` the frames of a named encoder are the input of its last
    blocks before `layer`.
    """

    file: Path
    digest: str
    name: str = ""
    bundle: str = ""
    layer: str | int | None = None
    n_blocks: int = 0


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
    except ProgramError as error:
        raise _failed(source, str(error)) from error
    except (RuntimeError, TypeError, AttributeError, AssertionError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _failed(source, f"fails on {windows.shape[1]} samples ({first:.200})") from error
    if found.ndim != 3 or len(found) != len(windows) or 0 in found.shape:
        raise _failed(
            source,
            f"must return (n_windows, n_frames, n_bins), but for {windows.shape} it returned "
            f"{found.shape}",
        )
    if not np.isfinite(found).all():
        raise _failed(source, "returns numbers that are not finite")
    return found


def require_file(source: EncoderSource) -> None:
    """Checks that the file of an encoder is on this machine, and the one meant.

    Raises:
        UserError: it is missing, or another one.
    """
    file = source.file
    if not file.is_file():
        advice = f"; {fetch_advice(source.name)}" if source.name else ""
        raise UserError(f"feature 'encoder': there is no file '{file}' on this machine{advice}")
    if file_digest(file) != source.digest:
        raise UserError(
            f"feature 'encoder': '{file}' has changed since the sweep began, or is another file "
            f"on this machine; put the one with the SHA-256 {source.digest} there"
        )


def file_digest(file: Path) -> str:
    """The SHA-256 of a file, read again only if its size or modification time has changed."""
    stat = file.stat()
    return _digest(file, stat.st_size, stat.st_mtime_ns)


def checked_digest(file: Path, digest: str) -> str:
    """The SHA-256 of a file that a config names.

    Args:
        file: the file.
        digest: the SHA-256 that it should have; empty for any.

    Raises:
        UserError: it has another one.
    """
    found = file_digest(file)
    if digest not in ("", found):
        raise UserError(
            f"'{file}' is another file than the one meant: its SHA-256 is {found}, but "
            f"digest={digest}; give that file, or leave digest out"
        )
    return found


@lru_cache(maxsize=MAX_LOADED)
def _loaded(source: EncoderSource) -> Windows:
    """Cached from track to track."""
    require_file(source)
    file = source.file
    try:
        if file.suffix.lower() in guarded_program.KINDS:  # PyTorch is not even imported
            return _load(source, "cpu")
        import torch

        run = _load(source, "cuda" if torch.cuda.is_available() else "cpu")
    except ProgramError as error:
        raise _failed(source, str(error)) from error

    def run_repeatably(windows: Float32Array) -> Float32Array:
        with repeatable():
            return run(windows)

    return run_repeatably


def _load(source: EncoderSource, device: str) -> Windows:
    if source.n_blocks:
        module = encoder_module(source.name)
        layer, n = str(source.layer), source.n_blocks
        made: Windows = module.load_block_input(source.file, layer=layer, n_blocks=n, device=device)
        return made
    if source.name:
        return load_encoder(source.name, source.file, layer=str(source.layer), device=device)
    if source.bundle:
        number = None if source.layer is None else int(source.layer)
        return pipelines.load_pipeline(source.bundle, source.file, layer=number, device=device)
    return load_added(source.file, layer=str(source.layer or ""), device=device)


def _failed(source: EncoderSource, what: str) -> UserError:
    hint = "give another with --features.encoder.path, or check sample_rate and chunk_s"
    if source.name:
        hint = f"type: chorale encoder check {source.name}"
    return UserError(f"feature 'encoder': '{source.file}' {what}; {hint}")


@lru_cache(maxsize=8)
def _digest(file: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns
    return file_sha256(file)
