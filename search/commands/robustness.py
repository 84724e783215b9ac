"""`chorale robustness STUDY`: test accuracy under codecs, noise, rooms and cuts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.search.commands.command import command
from chorale.search.commands.console import console, progress_console
from chorale.search.commands.output_file import require_writable
from chorale.search.commands.parameters import FILE, FOLDER, json_option
from chorale.search.commands.study_options import StudyOptions, study_options

if TYPE_CHECKING:
    from chorale.datasets.recording.conditions import Condition
    from chorale.search.bundle.bundle import Bundle
    from chorale.search.champion.robustness.robustness import Robustness
    from chorale.search.ledger.ground_truth import GroundTruth


@command(
    examples=[
        "chorale robustness demo --html robustness.html",
        "chorale robustness demo --conditions mp3_64,noise_20,cut_3 --json",
    ]
)
@click.option(
    "--bundle",
    type=FOLDER,
    metavar="BUNDLE",
    help="Another bundle of the same classes, as of chorale compress.",
)
@click.option("--conditions", metavar="NAME,NAME", help="Only these, separated by commas.")
@click.option("--html", "page", type=FILE, metavar="FILE", help="Also write a page for a browser.")
@json_option
@study_options()
def run(
    given: StudyOptions,
    bundle: Path | None,
    conditions: str | None,
    page: Path | None,
    as_json: bool,
) -> int:
    """Predicts the study's test tracks again as they would arrive under other conditions.

    These are MP3, Vorbis and Opus at several bit rates, lower sample rates, clipping, rooms, noise,
    another level, and cuts to a few seconds. Shows the accuracy under each, its difference from the
    recordings as they are with a paired 95 % interval, the share flagged as out of distribution,
    and how often the conformal set has the true class. It counts as one more evaluation of the
    locked test set.
    """
    if page is not None:
        page = require_writable(page, option="--html")
    with given.open() as reader:
        reader.study(given.name)  # refused before anything heavy is imported
    found, n_looks = _measure(given, bundle, _conditions(conditions))
    if page is not None:
        from chorale.datasets.atomic import write_text
        from chorale.search.champion.robustness.page import render_robustness

        write_text(page, render_robustness(found, study=given.name))
    if as_json:
        print(json.dumps({"study": given.name, **found.as_dict()}, indent=2))
    else:
        _show(found, n_looks)
        if page is not None:
            console().print(f"Read it in a browser: {page}", markup=False, soft_wrap=True)
    return 0


def _conditions(text: str | None) -> "Mapping[str, Condition]":
    from chorale.datasets.errors import unknown_name_error
    from chorale.datasets.recording.conditions import CONDITIONS

    if text is None:
        return CONDITIONS
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in CONDITIONS:
            raise unknown_name_error("condition", name, list(CONDITIONS))
    return {name: CONDITIONS[name] for name in names}


def _measure(
    given: StudyOptions, folder: Path | None, conditions: "Mapping[str, Condition]"
) -> "tuple[Robustness, int]":
    """The scores under each condition, and how often the test set has been evaluated."""
    from chorale.datasets.audio import AudioError
    from chorale.datasets.errors import UserError
    from chorale.search.api.study import Study
    from chorale.search.bundle.bundle import Bundle
    from chorale.search.bundle.predictor import Predictor
    from chorale.search.champion.robustness.robustness import measure_robustness
    from chorale.search.console.ticker import StatusTicker
    from chorale.search.ledger.ground_truth import read_ground_truth
    from chorale.search.ledger.ledger import Ledger

    name = given.name
    truth = read_ground_truth(given.runs.study(name))
    if truth is None:
        raise UserError(
            f"study '{name}' has no labels of its tracks yet; finish it first: chorale resume "
            f"{name}"
        )
    files = _files(given, name, truth.split.test_ids)
    bundle = (
        Bundle.open(folder)
        if folder is not None
        else Study(name, given.runs.root, given.store).model().bundle
    )
    _refuse_other_classes(bundle, truth)
    ledger = Ledger(given.store or given.runs.ledger_url)
    try:
        n_looks = ledger.count_test_look(name, truth.split.hash)
    finally:
        ledger.close()
    out, n_done = progress_console(to_stderr=True), 0

    def show() -> None:
        out.print(f"  {n_done} of {len(files)} tracks under {len(conditions)} conditions")

    def count(n: int) -> None:
        nonlocal n_done
        n_done = n

    labels, groups = (of(truth.split.test_ids) for of in (truth.labels, truth.groups))
    try:
        with StatusTicker.of(out) as ticker, ticker.printing(show):
            found = measure_robustness(
                Predictor(bundle), files, labels, groups, conditions, show=count
            )
    except AudioError as error:
        raise UserError(f"a test recording cannot be read: {error}; restore it") from None
    return found, n_looks


def _files(given: StudyOptions, name: str, tracks: Sequence[str]) -> list[Path]:
    """The audio files of tracks.

    Raises:
        UserError: the study has no recordings, or one is no longer there.
    """
    from chorale.datasets.errors import UserError
    from chorale.search.report.data.audio import read_audio_paths

    known = read_audio_paths(given.runs.study(name).audio_json) or {}
    missing = [track for track in tracks if track not in known or not known[track].is_file()]
    if len(missing) == len(tracks):
        raise UserError(
            f"study '{name}' has no recordings here; only studies of audio files can be predicted "
            f"under other conditions"
        )
    if missing:
        raise UserError(
            f"{len(missing)} of {len(tracks)} test recordings are missing, the first of track "
            f"'{missing[0]}' ({known.get(missing[0], 'no file')}); put them back"
        )
    return [known[track] for track in tracks]


def _refuse_other_classes(bundle: "Bundle", truth: "GroundTruth") -> None:
    from chorale.datasets.errors import UserError

    if bundle.manifest.labels != truth.class_names:
        raise UserError(
            f"the bundle in '{bundle.paths.root}' predicts {', '.join(bundle.manifest.labels)}, "
            f"but the study has the classes {', '.join(truth.class_names)}; give a bundle of this "
            f"study"
        )


def _show(found: "Robustness", n_looks: int) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("condition", no_wrap=True)
    for name in (
        f"test {found.metric}",
        "difference (95 % CI)",
        "out of distribution",
        "covered",
        "classes",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.rows:
        low, high = (100 * end for end in row.ci95)
        gain = f"{100 * row.difference:+.1f} ({low:+.1f} to {high:+.1f})"
        table.add_row(
            row.title,
            f"{row.score:.1%}",
            gain if row is not found.rows[0] else "",
            f"{row.out_of_distribution:.0%}",
            "" if row.covered is None else f"{row.covered:.0%}",
            f"{row.set_size:.1f}",
        )
    out = console()
    out.print(table)
    n_tracks = found.rows[0].scores["n"]
    out.print(f"{n_tracks} test tracks; evaluations of this test set so far: {n_looks}.")
    out.print(found.sentence(), soft_wrap=True, markup=False, highlight=False)
    n = len(found.rows) - 1
    out.print(
        f"covered: the conformal set, of so many classes on average, has the true one (stated: "
        f"{found.coverage:.0%}). Each interval holds by "
        f"itself: of {n} differences that are really 0, {0.05 * n:.1f} would exclude it by chance.",
        soft_wrap=True, markup=False, highlight=False, style="dim",
    )  # fmt: skip
    if kept := [row for row in found.rows if row.n_unchanged]:
        text = ", ".join(f"{row.title} ({row.n_unchanged})" for row in kept)
        line = f"Recordings that a condition leaves as they are: {text}."
        out.print(line, soft_wrap=True, markup=False, highlight=False, style="dim")
