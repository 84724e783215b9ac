"""`chorale predict FILE|FOLDER|- ...`: classifies recordings."""

import math
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.audio_formats import AUDIO_EXTENSIONS
from chorale.search.commands.study_options import StudyOptions, split_arguments

if TYPE_CHECKING:
    import numpy as np

    from chorale.search.bundle.bundle import Bundle
    from chorale.search.bundle.predictor import Predictor, Segment
    from chorale.search.commands.prediction_output import PredictionWriter

HELP = """\
usage: chorale predict FILE|FOLDER|- ... (--bundle FOLDER | --study STUDY | --champion NAME)
                       [--top N] [--timeline [--segment SECONDS]] [--json | --csv]

Classifies recordings: prints the most probable classes with calibrated probabilities, the conformal
set of classes, which contains the true one as often as the bundle states, and a note where the
recording is out of distribution: the networks disagree more than on nearly all recordings that they
were developed on. For a folder, all audio files below it; - reads one recording from standard
input. A file that cannot be read is reported and skipped; then the exit code is 1.

Where recordings have several labels, prints all labels whose probability reaches their threshold,
of which there may be none; the conformal set contains on average the stated share of the labels.

  --bundle FOLDER    a bundle that `chorale export` made
  --study STUDY      a finished study; its ensemble is packed on first use
  --champion NAME    the champion of that name
  --top N            how many classes are printed, of several labels those below the threshold,
                     too: 3
  --timeline         also classify each segment of a recording
  --segment SECONDS  the length of a segment: 3
  --json             one JSON object per line, with the probability of every class
  --csv              a table with a column for every class; with --timeline a row for each segment
  --runs FOLDER      the folder of all studies (runs)
  --store URL        the ledger, where it is not in that folder
"""
PREDICT_OPTIONS = ("bundle", "study", "champion", "top", "segment", "runs", "store")
PREDICT_FLAGS = ("timeline", "json", "csv")
STDIN = "-"
AUDIO_SUFFIXES = frozenset(f".{extension}" for extension in AUDIO_EXTENSIONS)
"""Suffixes of audio files in a folder; a file that is named itself may have any suffix."""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from chorale.datasets.errors import UserError

    places, options, flags = split_arguments(args, options=PREDICT_OPTIONS, flags=PREDICT_FLAGS)
    if not places:
        raise UserError("expected a FILE, a FOLDER or -; type: chorale predict FILE --study STUDY")
    if {"json", "csv"} <= set(flags):
        raise UserError("expected --json or --csv, but got both; leave one out")
    top = _positive_int(options.get("top", "3"), "top")
    segment_s = _seconds(options.get("segment", "3")) if "timeline" in flags else None
    files = list(audio_files(places))
    bundle = _bundle(options, places)

    from chorale.search.bundle.predictor import Predictor
    from chorale.search.commands.prediction_output import PREDICTION_WRITERS

    predictor = Predictor(bundle)
    [kind] = {"json", "csv"} & set(flags) or {"text"}
    multi_label = bundle.manifest.multi_label
    writer = PREDICTION_WRITERS[kind](predictor.labels, top=top, multi_label=multi_label)
    return predict_all(predictor, files, writer, segment_s=segment_s)


def predict_all(
    predictor: "Predictor",
    files: Sequence[str],
    writer: "PredictionWriter",
    *,
    segment_s: float | None,
) -> int:
    """Predicts one file after the other; returns the exit code: 1 where one could not be read."""
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
            print(f"chorale predict: {error}; skipped", file=sys.stderr)
            continue
        prediction = predictor.predict_waveform(waveform, sample_rate)
        segments: Sequence[Segment] = ()
        if segment_s is not None:
            segments = predictor.timeline(waveform, sample_rate, segment_s=segment_s)
        writer.good(file, prediction, segments)
    if n_bad:
        print(f"chorale predict: {n_bad} of {len(files)} cannot be read", file=sys.stderr)
    return 1 if n_bad else 0


def _load(file: str) -> "tuple[np.ndarray, int]":
    """The waveform and its sample rate.

    Raises:
        AudioError: the file cannot be decoded.
    """
    from chorale.datasets import audio

    if file != STDIN:
        return audio.load_audio(file)
    with tempfile.NamedTemporaryFile() as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
        kept.flush()
        try:
            return audio.load_audio(kept.name)
        except audio.AudioError as error:
            raise audio.AudioError(STDIN, error.problem, error.detail) from None


def audio_files(places: Sequence[str]) -> Iterator[str]:
    """The files at the given places, those of a folder sorted.

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
            if path.suffix.lower() in AUDIO_SUFFIXES
            and path.is_file()
            and not path.name.startswith(".")
        )
        if not found:
            raise UserError(
                f"no audio below '{place}': expected files that end with "
                f"{', '.join(sorted(AUDIO_SUFFIXES))}; give another folder, or the files themselves"
            )
        yield from found


def _bundle(options: Mapping[str, str], places: Sequence[str]) -> "Bundle":
    from chorale.datasets.errors import UserError
    from chorale.search.bundle.bundle import Bundle

    named = [name for name in ("bundle", "study", "champion") if name in options]
    if not named and len(places) > 1 and not Path(places[0]).exists():
        raise UserError(
            f"there is no file '{places[0]}'; if it is a study, type: chorale predict "
            f"{shlex.join(places[1:])} --study {shlex.quote(places[0])}"
        )
    if len(named) != 1:
        raise UserError(
            "expected --bundle FOLDER, --study STUDY or --champion NAME, one of them (chorale "
            "list shows all studies; chorale export STUDY makes a bundle)"
        )
    if named == ["bundle"]:
        return Bundle.open(Path(options["bundle"]).expanduser())
    from chorale.search.commands import export

    if named == ["study"]:
        return export.packed_bundle(
            StudyOptions(options["study"], dict(options), ()), options["study"]
        )
    from chorale.search.champion.registry.registry import Registry

    name = options["champion"]
    return export.champion_in_use(
        Registry(StudyOptions(None, dict(options), ()).runs.champion(name)), name
    )


def _positive_int(value: str, name: str) -> int:
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
