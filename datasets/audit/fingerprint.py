"""Fingerprints of recordings: 32 bits for each 23 ms that survive another encoding of the sound.

`datasets.audit.duplicates` compares them. They are remembered by the content of the files, as the
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
from chorale.datasets.atomic import atomic
from chorale.datasets.chunks import ChunkMap, in_chunks
from chorale.datasets.content import HashedFile, digest

Bits = npt.NDArray[np.uint32]

VERSION = 1
"""Raise it when `fingerprint` gives other bits for the same waveform."""

HOP_S = 0.0232
"""Seconds from one sub-fingerprint to the next."""
SILENCE = np.uint32(0)
"""Stands where nothing can be heard; such a moment is like no other."""

_WINDOW_S = 0.186
_LOW_HZ, _HIGH_HZ, _N_BANDS = 300.0, 2000.0, 33
_BLOCK_FRAMES = 32  # their spectra stay in a core's cache
_SILENT_POWER = 1e-6  # of the loudest moment: -60 dB
_CHUNK_DURATION_S = 1800.0


def fingerprint(waveform: npt.NDArray[np.float32], sample_rate: int) -> Bits:
    """The sub-fingerprints of a waveform `(n_samples,)`: uint32 `(n,)`, one each `HOP_S`.

    A bit says whether the difference between two neighbouring bands grows from one moment to the
    next. The bands lie between 300 and 2,000 Hz and moments are counted in seconds, so the sample
    rate matters little. Empty where the sound is shorter than a window (0.19 s) or its rate is too
    low for the bands.

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
    bits[bits == SILENCE] = 1
    loudness = power[1:].sum(axis=1)
    bits[loudness <= _SILENT_POWER * loudness.max(initial=0.0)] = SILENCE
    return bits


def fingerprints(
    tracks: pd.DataFrame, *, cache_root: Path, run: ChunkMap = map
) -> Mapping[str, Bits]:
    """The fingerprint of each content, computed only where nobody has computed it before.

    A file that has changed or vanished since the audit has none; whoever needs it next will say so.

    Args:
        tracks: audited tracks, with the columns `path`, `content` and `duration_s`.
        cache_root: where fingerprints are kept, a file for each chunk of work.
        run: how chunks of files are worked on.
    """
    folder = cache_root / f"fingerprints-{VERSION}.{audio.VERSION}"
    wanted = set(tracks["content"])
    known = dict(_remembered(folder, wanted))
    unheard = tracks[~tracks["content"].isin(list(known))].drop_duplicates("content")
    sources = [HashedFile(*pair) for pair in zip(unheard["path"], unheard["content"], strict=True)]
    durations_s = unheard["duration_s"].tolist()
    chunks = in_chunks(sources, sizes=durations_s, limit=_CHUNK_DURATION_S)
    if chunks:
        for path in run(partial(_fingerprint_chunk, folder=folder), chunks):
            known.update(_read(Path(path), wanted))
    return known


def _band_power(
    waveform: npt.NDArray[np.float32], sample_rate: int, n_fft: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Power in each band, block by block: `(n_block, n_bands)`; no more than a block is held."""
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
    """Writes the fingerprints of `sources` into one new file; returns its path."""
    made = {source.content: bits for source in sources if (bits := _of_file(source)) is not None}
    path = folder / f"{digest([source.content for source in sources])}.npz"
    with atomic(path) as temporary:
        np.savez(
            temporary,
            bits=np.concatenate([np.zeros(0, np.uint32), *made.values()]),
            lengths=np.array([len(bits) for bits in made.values()], np.int64),
            contents=np.array(list(made), dtype="S64"),
        )
    return str(path)


def _of_file(source: HashedFile) -> Bits | None:
    try:
        if audio.content_hash(source.path) != source.content:
            return None
        return fingerprint(*audio.load(source.path))
    except audio.AudioError:
        return None


def _remembered(folder: Path, wanted: set[str]) -> Iterator[tuple[str, Bits]]:
    for path in sorted(folder.glob("*.npz")):
        if not path.name.startswith("."):  # one that was never finished
            yield from _read(path, wanted).items()


def _read(path: Path, wanted: set[str]) -> dict[str, Bits]:
    """What a chunk's file holds of the contents that are `wanted`; a damaged one holds nothing."""
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
    # copies, so that one fingerprint does not keep the whole chunk in memory
    return {c: part.copy() for c, part in zip(contents, parts, strict=True) if c in wanted}
