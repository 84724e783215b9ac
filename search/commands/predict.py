"""`chorale predict FILE|FOLDER|- ...`: what recordings are."""

import math
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.search.commands.study_words import StudyWords, split_words

if TYPE_CHECKING:
    import numpy as np

    from chorale.search.bundle.bundle import Bundle
    from chorale.search.bundle.predictor import Predictor, Segment
    from chorale.search.commands.predict_lines import Writer

HELP = """\
usage: chorale predict FILE|FOLDER|- ... (--bundle FOLDER | --study STUDY | --champion NAME)
                       [--top N] [--timeline [--segment SECONDS]] [--json | --csv]

Says what each recording is: the most probable classes with calibrated probabilities, the set of
classes that holds the true one as often as the bundle promises, and, where the networks disagree
more than about nearly all recordings that they were developed on, that it may be none of them.
Of a folder all audio below it; - reads one recording from the standard input. A file that cannot be
read is told and left out; then the exit code is 1.

  --bundle FOLDER    what `chorale export` made
  --study STUDY      a finished study; its ensemble is packed when it is first asked for
  --champion NAME    the champion of that name
  --top N            so many classes are named: 3
  --timeline         also what each segment of a recording is
  --segment SECONDS  how long a segment is: 3
  --json             one JSON object a line, with the probability of every class
  --csv              a table with a column for every class; with --timeline a row for each segment
  --runs FOLDER      the folder of all studies (runs)
  --store URL        the ledger, where it is not in that folder
"""
OPTIONS = ("bundle", "study", "champion", "top", "segment", "runs", "store")
FLAGS = ("timeline", "json", "csv")
STDIN = "-"
AUDIO = frozenset({".wav", ".flac", ".ogg", ".oga", ".mp3", ".au", ".aif", ".aiff"})
"""What is looked for in a folder; a file that is named is tried whatever its ending."""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    from chorale.datasets.errors import UserError

    places, options, flags = split_words(words, options=OPTIONS, flags=FLAGS)
    if not places:
        raise UserError("expected a FILE, a FOLDER or -; type: chorale predict FILE --study STUDY")
    if {"json", "csv"} <= set(flags):
        raise UserError("expected --json or --csv, but got both; leave one out")
    top = _whole(options.get("top", "3"), "top")
    segment_s = _seconds(options.get("segment", "3")) if "timeline" in flags else None
    files = list(files_of(places))
    bundle = _bundle(options)

    from chorale.search.bundle.predictor import Predictor
    from chorale.search.commands.predict_lines import WRITERS

    predictor = Predictor(bundle)
    [kind] = {"json", "csv"} & set(flags) or {"text"}
    writer = WRITERS[kind](predictor.labels, top=top)
    return predict_all(predictor, files, writer, segment_s=segment_s)


def predict_all(
    predictor: "Predictor", files: Sequence[str], writer: "Writer", *, segment_s: float | None
) -> int:
    """Predicts one file after the other; gives the exit code: 1 where one could not be read."""
    from rich.console import Console
    from rich.progress import track

    from chorale.datasets.audio import AudioError

    n_bad = 0
    shown = Console(stderr=True)
    hidden = len(files) == 1 or not shown.is_terminal
    writer.begin()
    for file in track(files, "predicting", console=shown, disable=hidden, transient=True):
        try:
            waveform, sample_rate = _load(file)
        except AudioError as error:
            n_bad += 1
            writer.bad(file, error)
            print(f"chorale predict: {error}; it is left out", file=sys.stderr)
            continue
        guess = predictor.of_waveform(waveform, sample_rate)
        segments: Sequence[Segment] = ()
        if segment_s is not None:
            segments = predictor.timeline(waveform, sample_rate, segment_s=segment_s)
        writer.good(file, guess, segments)
    if n_bad:
        print(f"chorale predict: {n_bad} of {len(files)} cannot be read", file=sys.stderr)
    return 1 if n_bad else 0


def _load(file: str) -> "tuple[np.ndarray, int]":
    """The waveform and its rate.

    Raises:
        AudioError: there is none.
    """
    from chorale.datasets import audio

    if file != STDIN:
        return audio.load(file)
    with tempfile.NamedTemporaryFile() as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
        kept.flush()
        try:
            return audio.load(kept.name)
        except audio.AudioError as error:
            raise audio.AudioError(STDIN, error.problem, error.detail) from None


def files_of(places: Sequence[str]) -> Iterator[str]:
    """The files that are meant, those of a folder sorted.

    Raises:
        UserError: a folder without audio.
    """
    from chorale.datasets.errors import UserError

    for place in places:
        if place == STDIN or not Path(place).is_dir():
            yield place
            continue
        found = sorted(
            str(path)
            for path in Path(place).rglob("*")
            if path.suffix.lower() in AUDIO and path.is_file() and not path.name.startswith(".")
        )
        if not found:
            raise UserError(
                f"no audio below '{place}': expected files that end with "
                f"{', '.join(sorted(AUDIO))}; give another folder, or the files themselves"
            )
        yield from found


def _bundle(options: Mapping[str, str]) -> "Bundle":
    from chorale.datasets.errors import UserError
    from chorale.search.bundle.bundle import Bundle

    named = [name for name in ("bundle", "study", "champion") if name in options]
    if len(named) != 1:
        raise UserError(
            "expected --bundle FOLDER, --study STUDY or --champion NAME, one of them (chorale "
            "list shows all studies; chorale export STUDY makes a bundle)"
        )
    if named == ["bundle"]:
        return Bundle.open(Path(options["bundle"]).expanduser())
    from chorale.search.commands import export

    if named == ["study"]:
        return export.packed(StudyWords(options["study"], dict(options), ()), options["study"])
    from chorale.search.champion.registry.registry import Shelf

    name = options["champion"]
    return export.current(Shelf(StudyWords(None, dict(options), ()).runs.champion(name)), name)


def _whole(value: str, name: str) -> int:
    from chorale.datasets.errors import UserError

    if not value.isdecimal() or int(value) < 1:
        raise UserError(f"--{name} expected a whole number above 0, but got '{value}'")
    return int(value)


def _seconds(value: str) -> float:
    from chorale.datasets.errors import UserError

    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= 3600:
        raise UserError(f"--segment expected 0.1 to 3600 seconds, but got '{value}'")
    return seconds
