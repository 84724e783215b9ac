"""Recall and cost of duplicate detection, for planted copies of synthetic tracks. Prints a table.

    python tests/benchmarks/bench_duplicates.py [--tracks 1000] [--copies 150] [--processes 2]

Copies are re-encoded (MP3 of 64 kbit/s and below, ogg, flac), cut, shifted by half a second,
resampled or renamed. The corpus below --root is generated unless it exists; that is not timed.
"""

import argparse
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import soundfile

from chorale.datasets import audio
from chorale.datasets.audit.audit import audit_recordings
from chorale.datasets.audit.duplicates import find_duplicates
from chorale.datasets.base import track_table
from chorale.datasets.catalog import synthetic

Waveform = npt.NDArray[np.float32]
Write = Callable[[Path, Waveform, int], None]


def mp3(path: Path, waveform: Waveform, rate: int) -> None:
    soundfile.write(
        path, waveform, rate, format="MP3", bitrate_mode="CONSTANT", compression_level=0.62
    )


def ogg(path: Path, waveform: Waveform, rate: int) -> None:
    soundfile.write(path, waveform, rate, format="OGG", subtype="VORBIS", compression_level=0.8)


def flac(path: Path, waveform: Waveform, rate: int) -> None:
    soundfile.write(path, waveform, rate, format="FLAC")


def shifted(path: Path, waveform: Waveform, rate: int) -> None:
    mp3(path, np.r_[np.zeros(rate // 2, np.float32), waveform], rate)


def late(path: Path, waveform: Waveform, rate: int) -> None:
    mp3(path, waveform[rate // 2 :], rate)


def cut(path: Path, waveform: Waveform, rate: int) -> None:
    """Half of the track from 1.3 s on: 3 s of 6."""
    mp3(path, waveform[int(1.3 * rate) : int(1.3 * rate) + len(waveform) // 2], rate)


def other_rate(path: Path, waveform: Waveform, rate: int) -> None:
    soundfile.write(path, 0.5 * audio.resample(waveform, rate, 16_000), 16_000)


TRANSFORMS: dict[str, tuple[str, Write | None]] = {
    "mp3": (".mp3", mp3),
    "ogg": (".ogg", ogg),
    "flac": (".flac", flac),
    "0.5 s later": (".mp3", shifted),
    "0.5 s cut off": (".mp3", late),
    "half of it": (".mp3", cut),
    "16 kHz, -6 dB": (".wav", other_rate),
    "renamed": (".wav", None),
}


def plant(tracks: pd.DataFrame, folder: Path, n: int, *, seed: int) -> pd.DataFrame:
    """Copies of `n` random tracks; the id of a copy is `TRANSFORM|ID`, with the original's ID."""
    rng = np.random.default_rng(seed)
    rows = []
    originals = [{str(k): v for k, v in row.items()} for row in tracks.to_dict("records")]
    for i, at in enumerate(rng.permutation(len(tracks))[:n]):
        transform = list(TRANSFORMS)[i % len(TRANSFORMS)]
        suffix, write = TRANSFORMS[transform]
        original = tracks.iloc[int(at)]
        path = folder / f"{i:04}{suffix}"
        if write is None:
            shutil.copy(original["path"], path)
        else:
            write(path, *audio.load_audio(original["path"]))
        rows.append(
            {
                "track_id": f"{transform}|{original['track_id']}",
                "path": str(path),
                "label": original["label"],
                "group": f"copy-{i}",
            }
        )
    return track_table([*originals, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description="Recall and cost of duplicate detection")
    parser.add_argument("--tracks", type=int, default=1000)
    parser.add_argument("--copies", type=int, default=160)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--clip_s", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", default="runs/synthetic")
    args = parser.parse_args()
    config = synthetic.Config(root=args.root, n_tracks=args.tracks, clip_s=args.clip_s)
    tracks = synthetic.tracks(config)
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as scratch,
        ProcessPoolExecutor(args.processes, mp_context=spawn) as pool,
    ):
        (folder := Path(scratch) / "copies").mkdir()
        planted = plant(tracks, folder, args.copies, seed=args.seed)
        cache = Path(scratch) / "cache"
        began = time.perf_counter()
        audited = audit_recordings(
            planted, min_duration_s=0.1, cache_root=cache, run=pool.map
        ).tracks
        audit_s = time.perf_counter() - began
        times_s = []
        for _ in range(2):
            began = time.perf_counter()
            found = find_duplicates(audited, cache_root=cache, run=pool.map)
            times_s.append(time.perf_counter() - began)
    show(planted, found, audit_s, times_s)


def show(planted: pd.DataFrame, found: pd.DataFrame, audit_s: float, times_s: list[float]) -> None:
    true = {tuple(sorted((t, t.split("|")[1]))) for t in planted["track_id"] if "|" in t}
    detected = {
        tuple(sorted(pair)) for pair in zip(found["track_id"], found["other_id"], strict=True)
    }
    planted_by = Counter(transform_of(pair) for pair in true)
    hits = Counter(transform_of(pair) for pair in true & detected)
    for transform, n in planted_by.items():
        print(f"{transform:16} {hits[transform]:5} of {n:5} found")
    print(
        f"{'all':16} {len(true & detected):5} of {len(true):5} found, "
        f"{len(detected - true)} false pairs"
    )
    for pair in sorted(detected - true)[:10]:
        print(f"  false: {pair[0]} and {pair[1]}")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"audit {audit_s:.1f} s, duplicates {times_s[0]:.1f} s, again {times_s[1]:.1f} s; "
        f"{len(planted)} tracks, parent's peak {peak_mb:.0f} MB"
    )


def transform_of(pair: tuple[str, ...]) -> str:
    return next(name.split("|")[0] for name in pair if "|" in name)


if __name__ == "__main__":
    main()
