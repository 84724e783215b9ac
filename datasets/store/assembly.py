"""Assembly of a feature store: joins the frames of chunks and of older stores into its arrays.

The last step of `datasets.store.cache.build_feature_store`. It streams: at most one chunk is in
memory.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FrameArray = npt.NDArray[np.float32]
"""`(n_frames, n_bins)`, of one track or of several one after another."""


class Piece(NamedTuple):
    """The location of the frames of one content: rows of a chunk's file or of a store's array."""

    origin: Path | FrameArray
    start: int
    stop: int


def pieces_of(
    origin: Path | FrameArray, contents: Sequence[str], offsets: npt.NDArray[np.int64]
) -> dict[str, Piece]:
    """The pieces of one chunk or store by content; piece `i` has rows `offsets[i:i + 2]`."""
    bounds = offsets.tolist()
    spans = zip(contents, bounds[:-1], bounds[1:], strict=True)
    return {content: Piece(origin, start, stop) for content, start, stop in spans}


def pieces_in(work: Path) -> dict[str, Piece]:
    """The pieces of all finished chunks in the folder `work`; reads none of their frames."""
    pieces = {}
    for path in chunk_files(work):
        with np.load(path) as chunk:
            contents = [content.decode() for content in chunk["contents"]]
            offsets = np.concatenate([[0], np.cumsum(chunk["lengths"])])
        pieces.update(pieces_of(path, contents, offsets))
    return pieces


def chunk_files(work: Path) -> list[Path]:
    """The finished chunks; a name that begins with a dot is a temporary file."""
    return sorted(path for path in work.glob("*.npz") if not path.name.startswith("."))


def remove_used(work: Path, contents: Collection[str]) -> None:
    """Removes the chunks whose contents are all in a store (`contents`).

    A chunk of another, interrupted build is kept.
    """
    needed = {piece.origin for content, piece in pieces_in(work).items() if content not in contents}
    for path in chunk_files(work):
        if path not in needed:
            path.unlink()


def write_arrays(folder: Path, pieces: Sequence[Piece], n_bins: int) -> int:
    """Writes `frames.npy` and `offsets.npy` of a store; returns the number of frames."""
    lengths = [piece.stop - piece.start for piece in pieces]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    _write(folder / "offsets.npy", offsets.dtype, offsets.shape, [offsets])
    # streamed, because the pages of a memory map count as memory of this process
    streamed = (np.ascontiguousarray(frames, dtype=np.float32) for frames in _read(pieces))
    shape = (int(offsets[-1]), n_bins)
    _write(folder / "frames.npy", np.dtype(np.float32), shape, streamed)
    return int(offsets[-1])


def _write(
    path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], parts: Iterable[npt.NDArray[Any]]
) -> None:
    """Writes contiguous parts as one `.npy`; NumPy's own writer does not report a full disk.

    Raises:
        OSError: the file, which the error names, cannot be written.
    """
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    try:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for part in parts:
                file.write(part.data)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _read(pieces: Sequence[Piece]) -> Iterator[FrameArray]:
    chunk_frames = lru_cache(maxsize=1)(_chunk_frames)  # consecutive pieces are mostly of one chunk
    for piece in pieces:
        origin = piece.origin
        frames = chunk_frames(origin) if isinstance(origin, Path) else origin
        yield frames[piece.start : piece.stop]


def _chunk_frames(path: Path) -> FrameArray:
    with np.load(path) as chunk:
        return np.asarray(chunk["frames"], dtype=np.float32)
