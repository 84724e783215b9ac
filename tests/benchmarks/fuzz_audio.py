"""Fuzzing of the audio decoder and the audit: mutated files, in child processes with a time limit.

    python tests/benchmarks/fuzz_audio.py [--files 100000] [--seed 0] [--processes 2]

Each file is a seeded mutation (flipped bits, overwritten header fields, truncation, splices) of a
valid wav, flac, ogg, mp3 or au. Counts processes that died, files that took too long, and files
that were accepted although their header is invalid, their samples are NaN or infinite, or more
than their bytes can hold. Some originals have no count of samples, or one that is too small.
"""

import argparse
import io
import math
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from chorale.datasets import audio
from chorale.datasets.audit.audit import examine_file

HANG_S = 2.0
KILL_S = 60.0
"""A child that takes so long for one file is killed, in seconds; load alone does not cause that."""
BATCH = 200
MAX_PEAK_MB = 500
"""Memory of a child, whatever counts the headers state; the libraries take about 120 MB of it."""

KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "wav": (".wav", {"format": "WAV", "subtype": "PCM_16"}),
    "wav float": (".wav", {"format": "WAV", "subtype": "FLOAT"}),
    "flac": (".flac", {"format": "FLAC"}),
    "ogg": (".ogg", {"format": "OGG", "subtype": "VORBIS"}),
    "mp3": (".mp3", {"format": "MP3"}),
    "au": (".au", {"format": "AU", "subtype": "PCM_16"}),
    "wav without size": (".wav", {"format": "WAV", "subtype": "PCM_16"}),
    "flac without count": (".flac", {"format": "FLAC"}),
    "mp3 without count": (".mp3", {"format": "MP3", "bitrate_mode": "VARIABLE"}),
    "two mp3 in one": (".mp3", {"format": "MP3"}),
}
MAX_SAMPLES_PER_BYTE = {"WAV": 8, "AU": 8, "MP3": 64}
"""No encoding needs fewer bits; silence in FLAC and Ogg takes next to none."""
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass
class Tally:
    """Outcomes of some files, by kind and problem."""

    outcomes: Counter[str] = field(default_factory=Counter)
    accepted_invalid: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest_index: int = -1
    peak_mb: float = 0.0
    n_slow_before_retry: int = 0

    def add(self, other: "Tally") -> None:
        self.outcomes += other.outcomes
        for name in ("accepted_invalid", "slow", "died"):
            getattr(self, name).extend(getattr(other, name))
        if other.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest_index = other.slowest_s, other.slowest_index
        self.peak_mb = max(self.peak_mb, other.peak_mb)
        self.n_slow_before_retry += other.n_slow_before_retry


@cache
def original(kind: str, variant: int) -> bytes:
    """A valid file: 0.1 to 0.5 s, one or two channels, one of three sample rates."""
    rng = np.random.default_rng(variant)
    rate = (8_000, 22_050, 44_100)[variant % 3]
    n_channels = 1 + variant % 2
    time_s = np.arange(int(rate * rng.uniform(0.1, 0.5))) / rate
    wave = 0.5 * np.sin(2 * np.pi * rng.uniform(100, 1000) * time_s)
    wave = wave[:, None] + 0.05 * rng.standard_normal((len(time_s), n_channels))
    encoded = io.BytesIO()
    soundfile.write(encoded, wave, rate, **KINDS[kind][1])
    return _without_count(kind, encoded.getvalue())


def _without_count(kind: str, data: bytes) -> bytes:
    if kind == "two mp3 in one":  # the count is that of the first
        return data + data
    if kind == "wav without size":
        at = data.index(b"data") + 4
        return data[:at] + bytes(4) + data[at + 4 :]
    if kind == "flac without count":
        return data[:21] + bytes([data[21] & 0xF0, 0, 0, 0, 0]) + data[26:]
    if kind == "mp3 without count":  # the frame after the one with the count
        at = min(place for name in (b"Xing", b"Info") if (place := data.find(name)) > 0)
        return data[data.index(data[:2], at) :]
    return data


def mutated(seed: int, index: int) -> tuple[str, bytes]:
    """The kind and the bytes of file number `index`."""
    rng = np.random.default_rng([seed, index])
    kind = list(KINDS)[index % len(KINDS)]
    data = bytearray(original(kind, int(rng.integers(12))))
    for _ in range(1 + rng.geometric(0.5)):
        data = _mutate_once(data, rng) or data
    return kind, bytes(data)


def _mutate_once(data: bytearray, rng: np.random.Generator) -> bytearray:
    mutation = rng.integers(7)
    # mostly in the header, which is small and where most decoders fail
    reach = len(data) if rng.random() < 0.4 else min(len(data), 120)
    at = int(rng.integers(max(1, reach)))
    if mutation == 0:
        for place in rng.integers(0, max(1, reach), rng.integers(1, 9)):
            data[place] ^= 1 << int(rng.integers(8))
    elif mutation == 1:
        data[at] = int(rng.integers(256))
    elif mutation == 2:  # a header field of 2 or 4 bytes, of either byte order
        size = int(rng.choice([2, 4]))
        value = int(rng.choice(EDGES)) & (2 ** (8 * size) - 1)
        data[at : at + size] = value.to_bytes(size, "little" if rng.random() < 0.5 else "big")
    elif mutation == 3:
        del data[max(1, at) :]
    elif mutation == 4:  # inserts a part of itself, or of a file of another kind
        kind = list(KINDS)[int(rng.integers(len(KINDS)))]
        other = bytes(data) if rng.random() < 0.5 else original(kind, int(rng.integers(12)))
        start = int(rng.integers(len(other)))
        data[at:at] = other[start : start + int(rng.integers(1, 2000))]
    elif mutation == 5:
        del data[at : at + int(rng.integers(1, 200))]
        data = data or bytearray(b"\0")
    else:  # NaN, infinity or a huge number in the samples
        value = float(rng.choice([np.nan, np.inf, -np.inf, 1e38]))
        raw = np.float32(value).tobytes()
        data[at : at + 4 * int(rng.integers(1, 20))] = raw * int(rng.integers(1, 20))
    return data


def try_one(path: Path) -> tuple[str, str]:
    """The outcome of one file, and what is invalid about it if it was accepted."""
    finding = examine_file(str(path))
    try:
        waveform, rate = audio.load_audio(path)
    except audio.AudioError as error:
        disagree = finding.problem != error.problem
        return error.problem, f"the audit finds '{finding.problem}'" if disagree else ""
    header = audio.read_audio_header(path)
    size = path.stat().st_size
    at_most = size * MAX_SAMPLES_PER_BYTE.get(header.format, audio.MAX_SAMPLES) + 9_999
    invalid = ""
    if not np.isfinite(waveform).all() or not np.isfinite(finding.duration_s):
        invalid = "NaN or infinite samples"
    elif not 1 <= len(waveform) <= min(audio.MAX_SAMPLES, audio.MAX_DURATION_S * rate):
        invalid = f"{len(waveform)} samples"
    elif len(waveform) > at_most:
        invalid = f"{len(waveform)} samples in {size} bytes"
    elif (
        not audio.MIN_SAMPLE_RATE <= rate == header.sample_rate <= audio.MAX_SAMPLE_RATE
        or not 1 <= header.n_channels <= audio.MAX_CHANNELS
    ):
        invalid = f"sample rate {rate}, {header}"
    return finding.problem or "accepted", invalid


def timed(path: Path) -> tuple[tuple[str, str], float]:
    """The result of `try_one`, and its duration in seconds."""
    began_s = time.perf_counter()
    result = try_one(path)
    return result, time.perf_counter() - began_s


def work(connection: Connection, folder: str, seed: int, at: Any) -> None:
    """A child: receives ranges of file numbers until None; `at` holds the current one, and when."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libmpg123 writes thousands of lines
    while (span := connection.recv()) is not None:
        tally = Tally()
        for index in range(*span):
            kind, data = mutated(seed, index)
            path = Path(folder) / f"{os.getpid()}{KINDS[kind][0]}"
            path.write_bytes(data)
            at[0], at[1] = index, time.monotonic()
            (outcome, invalid), took_s = timed(path)
            if took_s > HANG_S:  # the machine may have been busy: a real hang repeats
                took_s = min(timed(path)[1] for _ in range(2))
                tally.n_slow_before_retry += took_s <= HANG_S
            tally.outcomes[f"{kind}: {outcome}"] += 1
            if invalid:
                tally.accepted_invalid.append(f"{index} ({kind}): {invalid}")
            if took_s > HANG_S:
                tally.slow.append(f"{index} ({kind}): {took_s:.1f} s")
            if took_s > tally.slowest_s:
                tally.slowest_s, tally.slowest_index = took_s, index
        tally.peak_mb = _peak_mb()
        connection.send(tally)


def _peak_mb() -> float:
    """The peak memory of this process, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    peak_kb = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(peak_kb) / 1024


class Child:
    """One child process, and its current range of files."""

    def __init__(self, folder: str, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.at = context.Array("d", 2, lock=False)
        self.connection, theirs = context.Pipe()
        arguments = (theirs, folder, seed, self.at)
        self.process: BaseProcess = context.Process(target=work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.span: tuple[int, int] | None = None

    def send(self, span: tuple[int, int] | None) -> None:
        # timed from its first file on, since starting a process may take long
        self.at[0], self.at[1] = (span[0] if span else -1), math.inf
        self.span = span
        self.connection.send(span)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def fuzz(
    n_files: int, *, seed: int, n_processes: int, folder: str, minutes: float = 1e9
) -> tuple[Tally, int]:
    """Tries `n_files` files, or as many as time allows; returns the outcomes and their number."""
    todo = [(i, min(i + BATCH, n_files)) for i in range(0, n_files, BATCH)][::-1]
    total, n_done = Tally(), 0
    ends_s = time.monotonic() + 60 * minutes
    children = [Child(folder, seed) for _ in range(n_processes)]
    while todo or any(child.span for child in children):
        if time.monotonic() > ends_s:
            todo.clear()
        for i, child in enumerate(children):
            span = child.span
            if span is None:
                if todo:
                    child.send(todo.pop())
                continue
            stuck = time.monotonic() - float(child.at[1]) > KILL_S
            if not stuck and child.process.is_alive() and not child.connection.poll(0.02):
                continue
            try:
                if stuck:
                    raise EOFError
                total.add(child.connection.recv())
                n_done += span[1] - span[0]
                child.span = None
            except (EOFError, ConnectionResetError):
                # its counts of this batch are lost, so the batch is repeated without the file
                index, stop = int(child.at[0]), span[1]
                what = "stuck" if stuck else f"exit code {child.process.exitcode}"
                (total.slow if stuck else total.died).append(f"{index}: {what}")
                todo += [s for s in ((index + 1, stop), (span[0], index)) if s[0] < s[1]]
                n_done += 1
                child.end()
                children[i] = Child(folder, seed)
        time.sleep(0.002)
    for child in children:
        child.send(None)
        child.process.join(5)
        child.end()
    return total, n_done


def show(total: Tally, n_done: int, took_s: float) -> None:
    by_outcome: Counter[str] = Counter()
    for name, n in total.outcomes.items():
        by_outcome[name.split(": ")[1]] += n
    for outcome, n in by_outcome.most_common():
        print(f"{n:8}  {outcome}")
    print(f"{n_done} files in {took_s:.0f} s, {n_done / took_s:.0f} per second")
    print(f"process deaths: {len(total.died)}")
    retried = f"{total.n_slow_before_retry} more at first, but not when retried"
    print(f"over {HANG_S:g} s: {len(total.slow)} ({retried})")
    print(f"accepted though invalid, or audit and decoder disagree: {len(total.accepted_invalid)}")
    print(
        f"slowest: {total.slowest_s:.2f} s (file {total.slowest_index}); "
        f"peak memory {total.peak_mb:.0f} MB"
    )
    for line in (total.died + total.slow + total.accepted_invalid)[:20]:
        print(f"  {line}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzzing of the audio decoder and the audit")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so many minutes")
    args = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="fuzz-audio-")
    began_s = time.perf_counter()
    try:
        total, n_done = fuzz(
            args.files,
            seed=args.seed,
            n_processes=args.processes,
            folder=folder,
            minutes=args.minutes,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(total, n_done, time.perf_counter() - began_s)
    too_large = total.peak_mb > MAX_PEAK_MB
    return 1 if total.died or total.slow or total.accepted_invalid or too_large else 0


if __name__ == "__main__":
    sys.exit(main())
