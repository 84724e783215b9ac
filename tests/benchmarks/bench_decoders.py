"""Decoding of containers (m4a, webm, wma, ...) beside the program ffmpeg; and mutated files.

    python tests/benchmarks/bench_decoders.py [--seconds 60]
    python tests/benchmarks/bench_decoders.py --mutations 100000 [--minutes 15] [--seed 0]

The first prints for each ending: samples, offset to the source, level, the largest difference to
ffmpeg's own decoding, seconds a minute of audio, peak memory of the decoder process. The files are
encoded by PyAV. The second counts for mutated files how the decoder process ended: by a crash, by
one of its limits, or after more than 2 s; exits with 1 if one was slow or gave wrong samples. A
crash costs one process and is one `AudioError`, so it is counted and is no failure.
"""

import argparse
import io
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from chorale.datasets import audio
from chorale.datasets.containers import sound as containers

Waveform = npt.NDArray[np.float32]
SLOW_S = 2.0
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass(frozen=True)
class Encoding:
    """How to make a file: PyAV's container and codec; sample rate in Hz, number of channels."""

    container: str
    codec: str
    sample_rate: int = 44_100
    n_channels: int = 2


ENCODINGS = {
    "m4a": Encoding("ipod", "aac"),
    "m4a alac": Encoding("ipod", "alac"),
    "mp4": Encoding("mp4", "aac"),
    "3gp": Encoding("3gp", "aac"),
    "aac": Encoding("adts", "aac"),
    "webm": Encoding("webm", "libopus", 48_000),
    "mka": Encoding("matroska", "flac"),
    "wma": Encoding("asf", "wmav2"),
    "caf": Encoding("caf", "libmp3lame"),
    "amr": Encoding("amr", "libopencore_amrnb", 8_000, 1),
}
if "libopencore_amrnb" not in av.codecs_available:  # PyAV 19 decodes it only
    del ENCODINGS["amr"]


def chirp(seconds: float, sample_rate: int, n_channels: int) -> Waveform:
    """A rising tone with some noise, whose offset is unique: (n_samples, n_channels)."""
    t = np.arange(int(seconds * sample_rate)) / sample_rate
    wave = 0.4 * np.sin(2 * np.pi * (200 * t + 1_000 * t**2 / max(seconds, 1)))
    wave += 0.02 * np.random.default_rng(0).standard_normal(len(t))
    return np.repeat(wave[:, None], n_channels, axis=1).astype(np.float32)


def encode(encoding: Encoding, waveform: Waveform) -> bytes:
    """The bytes of a file with a waveform (n_samples, n_channels)."""
    made = io.BytesIO()
    layout = "mono" if encoding.n_channels == 1 else "stereo"
    with av.open(made, "w", format=encoding.container) as container:
        stream: Any = container.add_stream(encoding.codec, rate=encoding.sample_rate)
        stream.layout = layout
        if encoding.sample_rate > 8_000:
            stream.bit_rate = 128_000  # a codec of wma files has no default
        for first in range(0, len(waveform), 2**16):
            block = np.ascontiguousarray(waveform[first : first + 2**16].reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
            frame.sample_rate = encoding.sample_rate
            frame.pts = first
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return made.getvalue()


def by_ffmpeg(path: Path, n_channels: int) -> Waveform | None:
    """The program's decoding, mixed to mono; None where it is not installed."""
    if shutil.which("ffmpeg") is None:
        return None
    words = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a:0", "-f", "f32le", "-"]
    raw = subprocess.run(words, capture_output=True, check=False).stdout
    decoded: Waveform = np.frombuffer(raw, np.float32).reshape(-1, n_channels).mean(axis=1)
    return decoded


def offset(decoded: Waveform, source: Waveform) -> int:
    """How many samples later the source begins in its decoding."""
    n = 2 ** math.ceil(math.log2(len(decoded) + len(source)))
    spectrum = np.fft.rfft(decoded, n) * np.conj(np.fft.rfft(source, n))
    at = int(np.argmax(np.fft.irfft(spectrum)))
    return at - n if at > n // 2 else at


def level_db(decoded: Waveform, source: Waveform) -> float:
    """The level of the middle of the decoding against that of the source."""
    middle = slice(len(source) // 4, len(source) // 2)
    return float(10 * np.log10(np.mean(decoded[middle] ** 2) / np.mean(source[middle] ** 2)))


def peak_mb() -> float:
    """The peak memory of the idle decoder processes, in MB."""
    peaks = [0.0]
    for process in containers._idle:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        peaks += [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")]
    return max(peaks)


def show_table(seconds: float, folder: Path) -> None:
    began_s = time.perf_counter()
    first = folder / "first.m4a"
    first.write_bytes(encode(ENCODINGS["m4a"], chirp(0.5, 44_100, 2)))
    audio.read_audio_header(first)
    print(f"the first file, with the start of the process: {time.perf_counter() - began_s:.2f} s")
    heads = ("source", "samples", "ffmpeg", "difference", "offset", "level dB", "s/min", "peak MB")
    print(f"{'ending':10}" + "".join(f"{head:>12}" for head in heads))
    for name, encoding in ENCODINGS.items():
        source = chirp(seconds, encoding.sample_rate, encoding.n_channels)
        path = folder / f"t.{name.split()[0]}"
        path.write_bytes(encode(encoding, source))
        began_s = time.perf_counter()
        decoded, _ = audio.load_audio(path)
        took_s = time.perf_counter() - began_s
        other = by_ffmpeg(path, encoding.n_channels)
        n_both = min(len(decoded), 0 if other is None else len(other))
        difference = (
            np.abs(decoded[:n_both] - other[:n_both]).max() if other is not None else np.nan
        )
        mono = source[:, 0]
        cells = (
            str(len(mono)), str(len(decoded)), str(len(other)) if other is not None else "-",
            f"{difference:.1e}", str(offset(decoded, mono)), f"{level_db(decoded, mono):+.2f}",
            f"{60 * took_s / seconds:.3f}", f"{peak_mb():.0f}",
        )  # fmt: skip
        print(f"{name:10}" + "".join(f"{cell:>12}" for cell in cells))


@cache
def original(name: str, variant: int) -> bytes:
    """A valid file of 0.1 to 0.4 s."""
    encoding = ENCODINGS[name]
    seconds = 0.1 * (1 + variant)
    return encode(encoding, chirp(seconds, encoding.sample_rate, encoding.n_channels))


def mutated(seed: int, index: int) -> tuple[str, bytes]:
    """The ending and the bytes of file number `index`."""
    rng = np.random.default_rng([seed, index])
    name = list(ENCODINGS)[index % len(ENCODINGS)]
    data = bytearray(original(name, int(rng.integers(4))))
    for _ in range(rng.geometric(0.5)):
        data = mutate_once(data, rng, name) or bytearray(b"\0")
    return name.split()[0], bytes(data)


def mutate_once(data: bytearray, rng: np.random.Generator, name: str) -> bytearray:
    """Changes the bytes once: mostly where the structure is, at the start and the end."""
    place = rng.random()
    reach = min(len(data), 1_500)
    at = int(rng.integers(max(1, reach)))
    if place > 0.8:
        at = int(rng.integers(max(1, len(data))))
    elif place > 0.4:
        at = max(0, len(data) - 1 - at)
    kind = rng.integers(6)
    if kind == 0:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        data[at] = int(rng.integers(256))
    elif kind == 2:  # a field of 2, 4 or 8 bytes, of either byte order
        size = int(rng.choice([2, 4, 8]))
        value = int(rng.choice(EDGES)) & (2 ** (8 * size) - 1)
        data[at : at + size] = value.to_bytes(size, "little" if rng.random() < 0.3 else "big")
    elif kind == 3:
        del data[max(1, at) :]
    elif kind == 4:  # a part of itself, or of a file with another ending
        other = original(str(rng.choice(list(ENCODINGS))), 0) if rng.random() < 0.3 else bytes(data)
        start = int(rng.integers(len(other)))
        data[at:at] = other[start : start + int(rng.integers(1, 2_000))]
    else:
        del data[at : at + int(rng.integers(1, 200))]
    return data


def outcome_of(path: Path) -> tuple[str, str]:
    """The outcome of one file in a few words, and what is wrong about it if it was accepted."""
    try:
        waveform, rate = audio.load_audio(path)
    except audio.AudioError as error:
        for words in ("crashed the decoder", "processor time", "of memory", "decoder process"):
            if words in error.detail:
                return error.detail, ""
        return error.problem, ""
    valid = np.isfinite(waveform).all() and 1 <= len(waveform) <= audio.MAX_SAMPLES
    if valid and audio.MIN_SAMPLE_RATE <= rate <= audio.MAX_SAMPLE_RATE:
        return "accepted", ""
    return "accepted", f"{len(waveform)} samples at {rate} Hz"


def try_mutations(n_files: int, folder: Path, *, seed: int, minutes: float) -> int:
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    began_s, n_done, memory_mb, slowest_s = time.perf_counter(), 0, 0.0, 0.0
    while n_done < n_files and time.perf_counter() - began_s < 60 * minutes:
        ending, data = mutated(seed, n_done)
        path = folder / f"t{n_done % 2}.{ending}"
        path.write_bytes(data)
        tried_s = time.perf_counter()
        outcome, invalid = outcome_of(path)
        took_s = time.perf_counter() - tried_s
        if took_s > SLOW_S and "processor time" not in outcome:  # the machine may have been busy
            path.touch()  # so that it is not remembered
            tried_s = time.perf_counter()
            outcome_of(path)
            took_s = min(took_s, time.perf_counter() - tried_s)
            if took_s > SLOW_S:
                wrong.append(f"{n_done} ({ending}): {took_s:.1f} s")
        if invalid:
            wrong.append(f"{n_done} ({ending}): {invalid}")
        slowest_s, memory_mb = max(slowest_s, took_s), max(memory_mb, peak_mb())
        outcomes[outcome] += 1
        n_done += 1
    took_s = time.perf_counter() - began_s
    for outcome, n in outcomes.most_common():
        print(f"{n:8}  {outcome}")
    print(f"{n_done} files in {took_s:.0f} s, {n_done / took_s:.0f} per second")
    print(f"slowest {slowest_s:.2f} s; peak memory of a decoder process {memory_mb:.0f} MB")
    print(f"slow or wrongly accepted: {len(wrong)}")
    for line in wrong[:20]:
        print(f"  {line}")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Decoding of containers")
    parser.add_argument("--seconds", type=float, default=60, help="length of each file")
    parser.add_argument("--mutations", type=int, default=0, help="number of mutated files")
    parser.add_argument("--minutes", type=float, default=15, help="stop after so many minutes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    av.logging.set_level(None)
    with tempfile.TemporaryDirectory(prefix="bench-decoders-") as folder:
        if args.mutations:
            return try_mutations(args.mutations, Path(folder), seed=args.seed, minutes=args.minutes)
        show_table(args.seconds, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
