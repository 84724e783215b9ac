"""`chorale predict FILE|FOLDER|- ...`: classifies recordings."""

import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.datasets.audio_formats import AUDIO_EXTENSIONS
from chorale.search.commands.command import command, require
from chorale.search.commands.parameters import FOLDER, Number, StudyName, WholeNumber, flag
from chorale.search.commands.study_options import StudyOptions, ledger_options

if TYPE_CHECKING:
    import numpy as np

    from chorale.search.bundle.bundle import Bundle
    from chorale.search.bundle.predictor import Predictor, Segment
    from chorale.search.commands.prediction_output import PredictionWriter

STDIN = "-"
AUDIO_SUFFIXES = frozenset(f".{extension}" for extension in AUDIO_EXTENSIONS)
"""Suffixes of audio files in a folder; a file that is named itself may have any suffix."""


@command(
    examples=[
        "chorale predict song.mp3 --study my_study",
        "chorale predict music --bundle my_bundle --csv",
        "chorale predict - --champion music --timeline --segment 5 < song.wav",
    ]
)
@click.argument("places", nargs=-1, metavar="FILE|FOLDER|- ...")
@click.option("--bundle", type=FOLDER, metavar="FOLDER", help="A bundle that chorale export made.")
@click.option(
    "--study",
    type=StudyName(),
    metavar="STUDY",
    help="A finished study; its ensemble is packed on first use.",
)
@click.option("--champion", metavar="NAME", help="The champion of that name.")
@click.option(
    "--top",
    type=WholeNumber(1),
    default=3,
    metavar="N",
    help="How many classes are printed; of several labels those below the threshold, too.",
)
@flag("--timeline", "Also classify each segment of a recording.")
@click.option(
    "--segment",
    "segment_s",
    type=Number(0.1, 3600),
    default=3,
    metavar="SECONDS",
    help="The length of a segment.",
)
@flag("--json", "One JSON object per line, with the probability of every class.", name="as_json")
@flag(
    "--csv",
    "A table with a column for every class; with --timeline a row for each segment.",
    name="as_csv",
)
@ledger_options
def run(
    given: StudyOptions,
    places: tuple[str, ...],
    bundle: Path | None,
    champion: str | None,
    top: int,
    timeline: bool,
    segment_s: float,
    as_json: bool,
    as_csv: bool,
) -> int:
    """Classifies recordings.

    Prints the most probable classes with calibrated probabilities, the conformal set of classes,
    which contains the true one as often as the bundle states, and a note where the recording is out
    of distribution: the networks disagree more than on nearly all recordings that they were
    developed on. For a folder, all audio files below it; - reads one recording from standard input.
    A file that cannot be read is reported and skipped; then the exit code is 1.

    Where recordings have several labels, prints all labels whose probability reaches their
    threshold, of which there may be none; the conformal set contains on average the stated share of
    the labels.
    """
    require(places, "expected a FILE, a FOLDER or -; type: chorale predict FILE --study STUDY")
    require(not (as_json and as_csv), "expected --json or --csv, but got both; leave one out")
    files = list(audio_files(places))
    opened = _bundle(given, bundle, champion, places)

    from chorale.search.bundle.predictor import Predictor
    from chorale.search.commands.prediction_output import PREDICTION_WRITERS

    predictor = Predictor(opened)
    kind = "json" if as_json else "csv" if as_csv else "text"
    multi_label = opened.manifest.multi_label
    writer = PREDICTION_WRITERS[kind](predictor.labels, top=top, multi_label=multi_label)
    return predict_all(predictor, files, writer, segment_s=segment_s if timeline else None)


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


def _bundle(
    given: StudyOptions, bundle: Path | None, champion: str | None, places: Sequence[str]
) -> "Bundle":
    from chorale.search.bundle.bundle import Bundle

    n_named = sum(one is not None for one in (bundle, given.study, champion))
    require(
        n_named or len(places) == 1 or Path(places[0]).exists(),
        f"there is no file '{places[0]}'; if it is a study, type: chorale predict "
        f"{shlex.join(places[1:])} --study {shlex.quote(places[0])}",
    )
    require(
        n_named == 1,
        "expected --bundle FOLDER, --study STUDY or --champion NAME, one of them (chorale "
        "list shows all studies; chorale export STUDY makes a bundle)",
    )
    if bundle is not None:
        return Bundle.open(bundle)
    from chorale.search.commands import export

    if champion is None:
        return export.packed_bundle(given)
    from chorale.search.champion.registry.registry import Registry

    return export.champion_in_use(Registry(given.runs.champion(champion)), champion)
