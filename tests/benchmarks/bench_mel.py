"""Speed of mel spectrograms from wav files, compared with librosa in the same run. Prints a table.

    python tests/benchmarks/bench_mel.py [--clips 64] [--rounds 5] [--processes 1 2]

Every worker has one thread, like Chorale's workers. "extract" decodes a file and computes its
features; "build" does what a sweep does: it also checks the hash, writes chunks and merges them.
All figures are medians over rounds; ratios are taken within a round. Clips per second depend on
other load on the machine; CPU time per clip does less.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from math import isnan, nan
from pathlib import Path
from statistics import median

import numpy as np
import soundfile

from chorale.datasets import audio
from chorale.datasets.base import track_table
from chorale.datasets.features import mel
from chorale.datasets.store.cache import build_feature_store as build_store

CLIP_S = 30.0
CONFIG = mel.Config()
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

Work = Callable[[ProcessPoolExecutor, Sequence[str]], list[float]]
"""Processes all clips in a pool; returns the CPU seconds of each clip, if known."""


@dataclass(frozen=True)
class Measured:
    """One round of one contender."""

    wall_s: float  # of all clips
    cpu_s: float  # of one clip, the median; NaN if unknown
    peak_mb: float  # of the worker with the most


def one_by_librosa(path: str) -> float:
    import librosa

    began_s = time.process_time()
    waveform, rate = librosa.load(path, sr=CONFIG.sample_rate)
    power = librosa.feature.melspectrogram(y=waveform, sr=rate, n_mels=CONFIG.n_mels)
    librosa.power_to_db(power)
    return time.process_time() - began_s


def one_by_chorale(path: str) -> float:
    began_s = time.process_time()
    waveform, _ = audio.load_audio(path, sample_rate=CONFIG.sample_rate)
    mel.extract(waveform, CONFIG)
    return time.process_time() - began_s


def all_by_librosa(pool: ProcessPoolExecutor, paths: Sequence[str]) -> list[float]:
    return list(pool.map(one_by_librosa, paths))


def all_by_chorale(pool: ProcessPoolExecutor, paths: Sequence[str]) -> list[float]:
    return list(pool.map(one_by_chorale, paths))


def build(pool: ProcessPoolExecutor, paths: Sequence[str]) -> list[float]:
    rows = [{"track_id": path, "path": path, "label": "x", "group": path} for path in paths]
    tracks = track_table(rows).assign(duration_s=CLIP_S)
    tracks["content"] = [content(path) for path in tracks["path"]]
    with tempfile.TemporaryDirectory() as root:
        build_store(tracks, "mel", CONFIG, root=Path(root), run=pool.map)
    return []


CONTENDERS: dict[str, tuple[Work, Callable[[str], float]]] = {
    "librosa extract": (all_by_librosa, one_by_librosa),
    "chorale extract": (all_by_chorale, one_by_chorale),
    "chorale build": (build, one_by_chorale),
}


@cache
def content(path: str) -> str:
    """The content hash that the audit gives the cache; computed before the timing starts."""
    return audio.content_hash(path)


def peak_mb(_: int) -> float:
    """Peak memory of this process. (`ru_maxrss` would include its parent's.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    time.sleep(0.05)  # so that every worker gets one of these calls
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measure(name: str, paths: Sequence[str], *, n_processes: int) -> Measured:
    """One round, in new processes after a warm-up."""
    work, warm = CONTENDERS[name]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, mp_context=spawn) as pool:
        list(pool.map(warm, list(paths[:2]) * n_processes))
        began_s = time.perf_counter()
        cpu_s = work(pool, paths)
        wall_s = time.perf_counter() - began_s
        peak = max(pool.map(peak_mb, range(2 * n_processes)))
    return Measured(wall_s, median(cpu_s) if cpu_s else nan, peak)


def write_clips(folder: Path, n: int) -> list[str]:
    rng = np.random.default_rng(0)
    n_samples = int(CLIP_S * CONFIG.sample_rate)
    for i in range(n):
        phase = np.cumsum(rng.standard_normal(n_samples))
        samples = 0.5 * np.sin(
            0.1 * phase
        )  # a tone with a random walk in pitch: every band has energy
        soundfile.write(folder / f"{i:03}.wav", samples, CONFIG.sample_rate)
    return [str(path) for path in sorted(folder.glob("*.wav"))]


def show(rounds: dict[str, list[Measured]], n_clips: int, n_processes: int) -> None:
    base = rounds["librosa extract"]
    for name, measured in rounds.items():
        pairs = list(zip(base, measured, strict=True))
        rate = median(n_clips / one.wall_s for one in measured)
        faster = median(one.wall_s / other.wall_s for one, other in pairs)
        cpu_ms = 1e3 * median(one.cpu_s for one in measured)
        cheaper = median(one.cpu_s / other.cpu_s for one, other in pairs)
        cpu = f"{'-':>11} {'-':>9}" if isnan(cpu_ms) else f"{cpu_ms:11.2f} {cheaper:9.2f}"
        peak = max(one.peak_mb for one in measured)
        print(f"{name:16} {n_processes:9} {rate:8.1f} {faster:9.2f} {cpu} {peak:9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of mel spectrograms, compared with librosa")
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # the workers inherit it
    with tempfile.TemporaryDirectory() as folder:
        paths = write_clips(Path(folder), args.clips)
        for path in paths:
            content(path)
        print(f"{len(paths)} clips of {CLIP_S:g} s, {CONFIG.sample_rate} Hz, {CONFIG.n_mels} mels")
        print(f"{'':16} processes  clips/s x librosa CPU ms/clip x librosa MB/worker")
        for n_processes in args.processes:
            rounds: dict[str, list[Measured]] = {name: [] for name in CONTENDERS}
            for _ in range(args.rounds):  # in turns, so that other load affects all alike
                for name, done in rounds.items():
                    done.append(measure(name, paths, n_processes=n_processes))
            show(rounds, len(paths), n_processes)


if __name__ == "__main__":
    main()
