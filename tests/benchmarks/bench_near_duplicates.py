"""Near duplicates by an encoder: recall and precision for planted copies of ESC-50 recordings.

    python tests/benchmarks/bench_near_duplicates.py --work FOLDER --esc FOLDER
        [--encoder birdnet] [--corpora 60] [--copies 7] [--alike 181563 182368 182369]

The encoder must have been fetched. Each recording is copied with noise of three levels, as MP3,
with another start, at another level, and with several of these; the encoder runs once a copy, and
the frames are kept in FOLDER. Each corpus is a random part of the recordings with copies of some of
them under other groups, one kind of copy at a time; a corpus without copies shows the false alarms.
Pairs of the source recordings `--alike` are not counted at all: by default three uploads of a
crackling fire, which the encoder cannot tell apart; they are no copies of one file.
"""

import argparse
import io
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from safetensors.numpy import load_file, save_file

from chorale.datasets import audio
from chorale.datasets.audit.near_duplicates import find_near_duplicates, track_vectors
from chorale.datasets.features import encoder

Waveform = np.ndarray
Change = Callable[[Waveform, int, np.random.Generator], Waveform]

FIRES = ("181563", "182368", "182369")


def noisy(snr_db: float) -> Change:
    def change(x: Waveform, rate: int, rng: np.random.Generator) -> Waveform:
        del rate
        noise = rng.standard_normal(len(x)) * np.sqrt(np.mean(x**2))
        return np.asarray(x + noise * 10 ** (-snr_db / 20))

    return change


def as_mp3(x: Waveform, rate: int, rng: np.random.Generator) -> Waveform:
    del rng
    file = io.BytesIO()
    soundfile.write(file, x, rate, format="MP3", bitrate_mode="CONSTANT", compression_level=0.8)
    file.seek(0)
    return np.asarray(soundfile.read(file, dtype="float32")[0])


def later(seconds: float) -> Change:
    return lambda x, rate, rng: x[int(seconds * rate) :]


def several(x: Waveform, rate: int, rng: np.random.Generator) -> Waveform:
    return as_mp3(noisy(20)(0.5 * later(0.7)(x, rate, rng), rate, rng), rate, rng)


CHANGES: dict[str, Change] = {
    "same": lambda x, rate, rng: x,
    "gain-12": lambda x, rate, rng: 0.25 * x,
    "offset0.7": later(0.7),
    "offset2": later(2.0),
    "noise30": noisy(30),
    "noise20": noisy(20),
    "noise10": noisy(10),
    "mp3": as_mp3,
    "all": several,
}
"""Names -> copies; `all` is at half the level, 0.7 s later, with noise of 20 dB, and as MP3."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="the folder of the frames")
    parser.add_argument("--esc", type=Path, required=True, help="folder with one folder per class")
    parser.add_argument("--encoder", default="birdnet")
    parser.add_argument("--corpora", type=int, default=60)
    parser.add_argument("--copies", type=int, default=7)
    parser.add_argument("--alike", nargs="*", default=FIRES)
    options = parser.parse_args()
    files = sorted(options.esc.rglob("*.flac"))
    found = [re.search(r"-(\d+)-[A-Z]-", file.name) for file in files]
    groups = np.array([match[1] for match in found if match])
    frames = frames_of(
        options.work / f"frames_{options.encoder}.safetensors", options.encoder, files
    )
    rng = np.random.default_rng(0)
    n_kept, alike = len(files) - options.copies - 5, set(options.alike)

    def corpus(kind: str | None) -> tuple[int, int, Counter[tuple[str, str]]]:
        """The planted pairs found, all pairs found, and the false ones by their sources."""
        kept = rng.permutation(len(files))[:n_kept]
        copied = kept[: options.copies] if kind else kept[:0]
        every = [frames["same"][i] for i in kept] + [frames[kind or "same"][i] for i in copied]
        x = track_vectors(np.concatenate(every), np.cumsum([0, *map(len, every)]))
        names = np.concatenate([groups[kept], np.char.add("copy", groups[copied])])
        source = np.concatenate([groups[kept], groups[copied]])
        planted, n_all = 0, 0
        false: Counter[tuple[str, str]] = Counter()
        for pair in find_near_duplicates(x, names):
            a, b = sorted((str(source[pair.first]), str(source[pair.second])))
            if a != b and {a, b} <= alike:
                continue
            planted += pair.second - pair.first == n_kept
            n_all += 1
            false[a, b] += a != b
        return planted, n_all, +false

    clean = [corpus(None)[2] for _ in range(options.corpora)]
    share = np.mean([bool(one) for one in clean])
    print(
        f"{options.encoder}, {n_kept} recordings without copies: a false pair in {share:.0%} of "
        f"{options.corpora} corpora; most often {sum(clean, Counter()).most_common(3)}"
    )
    print(f"with {options.copies} copies: recall, precision, false pairs per corpus, most often")
    for kind in list(CHANGES)[1:]:
        results = [corpus(kind) for _ in range(options.corpora)]
        n_false = sum(sum(one[2].values()) for one in results)
        n_all = sum(one[1] for one in results)
        recall = sum(one[0] for one in results) / (options.copies * options.corpora)
        often = sum((one[2] for one in results), Counter()).most_common(2)
        print(
            f"  {kind:<10} {recall:5.0%} {1 - n_false / max(1, n_all):5.0%} "
            f"{n_false / options.corpora:5.2f}  {often}",
            flush=True,
        )
    return 0


def frames_of(kept: Path, name: str, files: list[Path]) -> dict[str, list[np.ndarray]]:
    """The frames of each file and of each kind of copy, (n_frames, width) each."""
    arrays: dict[str, np.ndarray] = {}
    if kept.is_file():
        arrays = load_file(kept)
    config = encoder.Config(name=name)
    for kind, change in CHANGES.items():
        if kind in arrays:
            continue
        made = []
        for i, file in enumerate(files):
            x, rate = soundfile.read(file, dtype="float32")
            copy = np.asarray(change(x, rate, np.random.default_rng(i)), np.float32)
            if rate != config.rate_hz:
                copy = audio.resample(copy, rate, config.rate_hz)
            made.append(np.ascontiguousarray(encoder.extract(copy, config).T))
        arrays[kind] = np.concatenate(made)
        arrays[f"{kind} offsets"] = np.cumsum([0, *map(len, made)])
        print(f"{kind}: {len(files)} files", flush=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, kept)
    return {kind: np.split(arrays[kind], arrays[f"{kind} offsets"][1:-1]) for kind in CHANGES}


if __name__ == "__main__":
    sys.exit(main())
