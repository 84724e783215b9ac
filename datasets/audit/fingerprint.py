"""Audio fingerprinting: 32 bits per 23 ms that are robust to lossy encoding.

`datasets.audit.duplicates` compares them. They are cached by the content hash of the files, as the
audit's findings are, so a second audit decodes nothing.
"""

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view

from chorale.datasets import audio
from chorale.datasets.atomic import atomic_write
from chorale.datasets.chunks import ChunkMap, in_chunks
from chorale.datasets.content import HashedFile, json_digest

Bits = npt.NDArray[np.uint32]

FINGERPRINT_VERSION = 1
"""Raise it when `audio_fingerprint` gives other bits for the same waveform."""

HOP_S = 0.0232
"""Seconds from one sub-fingerprint to the next."""
SILENT_BITS = np.uint32(0)
"""The value of silent frames, which never match."""

_WINDOW_S = 0.186
_LOW_HZ, _HIGH_HZ, _N_BANDS = 300.0, 2000.0, 33
_BLOCK_FRAMES = 32  # their spectra fit in a core's cache
_SILENT_POWER = 1e-6  # relative to the loudest frame: -60 dB
_CHUNK_DURATION_S = 1800.0


def audio_fingerprint(waveform: npt.NDArray[np.float32], sample_rate: int) -> Bits:
    """The sub-fingerprints of a waveform `(n_samples,)`: uint32 `(n,)`, one per `HOP_S`.

    Each bit is the sign of the change over time of the difference between two adjacent bands. The
    bands are between 300 and 2,000 Hz and the hop is defined in seconds, so the result depends
    little on the sample rate. Empty if the waveform is shorter than a window (0.19 s) or its sample
    rate is too low for the bands.

    Source: Haitsma and Kalker 2002, "A Highly Robust Audio Fingerprinting System", ISMIR,
    https://ismir2002.ircam.fr/proceedings/02-FP04-2.pdf; with a shorter window and a wider hop.
    """
    n_fft = scipy.fft.next_fast_len(round(_WINDOW_S * sample_rate), real=True)
    if len(waveform) < n_fft or sample_rate < 2.2 * _HIGH_HZ:
        return np.zeros(0, np.uint32)
    power = np.concatenate(list(_band_power(waveform, sample_rate, n_fft)))  # (n_frames, n_bands)
    slope = power[:, :-1] - power[:, 1:]
    grows = slope[1:] > slope[:-1]  # (n_frames - 1, 32)
    bits = np.packbits(grows, axis=1).view(">u4")[:, 0].astype(np.uint32)
    bits[bits == SILENT_BITS] = 1
    loudness = power[1:].sum(axis=1)
    bits[loudness <= _SILENT_POWER * loudness.max(initial=0.0)] = SILENT_BITS
    return bits


def cached_fingerprints(
    tracks: pd.DataFrame, *, cache_root: Path, run: ChunkMap = map
) -> Mapping[str, Bits]:
    """Content hash -> fingerprint, computed only where it is not cached.

    A file that was changed or removed since the audit has none; feature extraction reports it.

    Args:
        tracks: audited tracks, with the columns `path`, `content` and `duration_s`.
        cache_root: where fingerprints are cached, one file per chunk of work.
        run: maps work over chunks of files.
    """
    folder = cache_root / f"fingerprints-{FINGERPRINT_VERSION}.{audio.DECODER_VERSION}"
    wanted = set(tracks["content"])
    known = dict(_read_cached(folder, wanted))
    new = tracks[~tracks["content"].isin(list(known))].drop_duplicates("content")
    sources = [HashedFile(*pair) for pair in zip(new["path"], new["content"], strict=True)]
    durations_s = new["duration_s"].tolist()
    chunks = in_chunks(sources, sizes=durations_s, limit=_CHUNK_DURATION_S)
    if chunks:
        for path in run(partial(_fingerprint_chunk, folder=folder), chunks):
            known.update(_read_chunk(Path(path), wanted))
    return known


def _band_power(
    waveform: npt.NDArray[np.float32], sample_rate: int, n_fft: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Power in each band, block by block: `(n_block, n_bands)`; one block in memory at a time."""
    edges_hz = np.geomspace(_LOW_HZ, _HIGH_HZ, _N_BANDS + 1)
    edges = np.round(edges_hz * n_fft / sample_rate).astype(np.int64)
    n_frames = 1 + int((len(waveform) - n_fft) / (HOP_S * sample_rate))
    starts = np.round(np.arange(n_frames) * (HOP_S * sample_rate)).astype(np.int64)
    frames = sliding_window_view(waveform, n_fft)
    window = np.hanning(n_fft).astype(np.float32)
    for first in range(0, n_frames, _BLOCK_FRAMES):
        block = frames[starts[first : first + _BLOCK_FRAMES]] * window
        spectrum = scipy.fft.rfft(block, axis=1)[:, edges[0] : edges[-1]]
        power = spectrum.real**2 + spectrum.imag**2
        yield np.add.reduceat(power, edges[:-1] - edges[0], axis=1)


def _fingerprint_chunk(sources: Sequence[HashedFile], *, folder: Path) -> str:
    """Writes the fingerprints of `sources` to one new file; returns its path."""
    found = {s.content: bits for s in sources if (bits := _file_fingerprint(s)) is not None}
    path = folder / f"{json_digest([source.content for source in sources])}.npz"
    with atomic_write(path) as temporary:
        np.savez(
            temporary,
            bits=np.concatenate([np.zeros(0, np.uint32), *found.values()]),
            lengths=np.array([len(bits) for bits in found.values()], np.int64),
            contents=np.array(list(found), dtype="S64"),
        )
    return str(path)


def _file_fingerprint(source: HashedFile) -> Bits | None:
    try:
        if audio.content_hash(source.path) != source.content:
            return None
        return audio_fingerprint(*audio.load_audio(source.path))
    except audio.AudioError:
        return None


def _read_cached(folder: Path, wanted: set[str]) -> Iterator[tuple[str, Bits]]:
    for path in sorted(folder.glob("*.npz")):
        if not path.name.startswith("."):  # a temporary file
            yield from _read_chunk(path, wanted).items()


def _read_chunk(path: Path, wanted: set[str]) -> dict[str, Bits]:
    """The fingerprints of the `wanted` contents in a chunk's file; none if it is damaged."""
    try:
        with np.load(path) as chunk:
            contents = [content.decode() for content in chunk["contents"]]
            if wanted.isdisjoint(contents):
                return {}
            stops = np.cumsum(chunk["lengths"])
            parts = np.split(chunk["bits"].astype(np.uint32, copy=False), stops[:-1])
            if len(contents) != len(stops) or (len(stops) and stops[-1] != len(chunk["bits"])):
                return {}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    # copies, because a view would keep the whole chunk in memory
    return {c: part.copy() for c, part in zip(contents, parts, strict=True) if c in wanted}
