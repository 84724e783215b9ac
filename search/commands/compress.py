"""`chorale compress STUDY|CHAMPION`: distils an ensemble into one small network."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chorale.datasets.errors import UserError
from chorale.search.commands.command import command, require, typed_command
from chorale.search.commands.console import console, progress_console
from chorale.search.commands.key_words import one_name, split_key_words
from chorale.search.commands.output_file import require_writable
from chorale.search.commands.parameters import FOLDER, POSITIVE, StudyName, WholeNumber, flag
from chorale.search.commands.study_options import StudyOptions, ledger_options

if TYPE_CHECKING:
    from chorale.search.champion.compress.final_stage import CompressionRequest

TAKE_OVER = "--take-over"
CHANGEABLE_SECTION = "cluster"


@command(
    keys=True,
    examples=[
        "chorale compress my_study --target-ms 10",
        "chorale compress champions/music --to small_bundle --cluster.address none",
    ],
)
@click.argument(
    "words", nargs=-1, type=StudyName(), metavar="STUDY|CHAMPION [--cluster.KEY VALUE ...]"
)
@click.option(
    "--target-ms",
    type=POSITIVE,
    default=30,
    metavar="MS",
    help="The latency limit for 30 s of audio on one thread, features included.",
)
@click.option(
    "--trials",
    type=WholeNumber(1),
    default=12,
    metavar="N",
    help="How many candidates are tried; those over the limit are not trained.",
)
@click.option(
    "--to",
    type=FOLDER,
    metavar="FOLDER",
    show_default="RUNS/STUDY-student-MSms/bundle",
    help="The folder of the chosen variant's bundle.",
)
@flag(TAKE_OVER, "Even if another process seems to run it; that one loses its lease.")
@ledger_options
def run(
    given: StudyOptions,
    words: tuple[str, ...],
    target_ms: float,
    trials: int,
    to: Path | None,
    take_over: bool,
) -> int:
    """Compresses the ensemble of a finished study into one network by knowledge distillation.

    The network is trained on the labels and the ensemble's predictions, and its architecture is
    searched among those within a latency limit. Shows the scores, latency and size of each variant
    (also pruned and quantised ones); one is chosen by out-of-fold scores and written as a bundle.
    It trains on the study's data, which must still be in place; keys of the section cluster choose
    other workers than the study's. To resume an interrupted run, type the same again.
    """
    names, keys = split_key_words(words, [CHANGEABLE_SECTION])
    for key in (word[2:].partition("=")[0] for word in keys if word.startswith("--")):
        require(
            key.startswith(f"{CHANGEABLE_SECTION}."),
            f"--{key}: a student is searched with its study's settings; only --cluster.KEY may "
            f"change, and the number of candidates: --trials N",
        )
    given = StudyOptions(
        one_name(names, "the name of a study or champion (chorale compress STUDY)"),
        given.runs_given,
        given.store,
    )
    given = StudyOptions(_study_of(given), given.runs_given, given.store)

    from chorale.search.champion.compress.run import compress_ensemble, student_name
    from chorale.search.console.progress import Progress
    from chorale.search.sweep.bucket import synchronised

    out = progress_console()
    if to is not None:
        require_writable(to, option="--to", is_folder=True)
    request = _request(given, keys, target_ms=target_ms, trials=trials, to=to)
    sweep = request.contents.sweep
    student = student_name(given.name, target_ms)
    earlier = sweep.runs_folder.study(student).compress_json
    try:
        with synchronised(sweep.runs, student, warn=print), Progress(out).keep_alive("compress"):
            found = _earlier_result(
                earlier, request.to, trials=request.trials
            ) or compress_ensemble(request, console=out, take_over=take_over)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        from chorale.search import interrupts

        if isinstance(error, KeyboardInterrupt) or interrupts.was_interrupted():
            again = typed_command(without=[TAKE_OVER])
            line = f"\nInterrupted; what has finished is kept. Resume with:  {again}"
            console().print(line, markup=False, soft_wrap=True)
        raise
    show_variants(found)
    return 0


def show_variants(found: Mapping[str, Any]) -> None:
    """Prints the table of variants, the chosen one, and what to type next."""
    from chorale.search.champion.compress.card import compression_summary
    from chorale.search.champion.compress.variants import variants_table

    out = console()
    out.print(variants_table(found))
    for line in found["left_out"]:
        out.print(line, soft_wrap=True, markup=False)
    out.print(f"* chosen. {compression_summary(found)}", soft_wrap=True, markup=False)
    if not found["fits"]:
        out.print(
            f"Caution: the wall-clock latency is above {found['target_ms']:g} ms, the CPU time is "
            f"not: the machine was busy. Measure again when it is idle."
        )
    use = f"Use it:  chorale predict FILE --bundle {found['bundle']}"
    out.print(use, markup=False, soft_wrap=True)


def _earlier_result(kept: Path, to: Path | None, *, trials: int) -> dict[str, Any] | None:
    """The result of an earlier run; its bundle is copied to `to` if that is another folder.

    None where there is none, or where more trials are requested now.

    Raises:
        UserError: it cannot be read, or the bundle cannot be copied.
    """
    if not kept.is_file():
        return None
    from chorale.search.bundle.bundle import Bundle
    from chorale.search.bundle.writing import copy_bundle

    try:
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"'{kept}' is damaged ({error}); delete it and type the same again"
        ) from None
    if found["trials"] < trials:
        return None
    if to is not None and to != Path(found["bundle"]):
        found["bundle"] = str(copy_bundle(Bundle.open(Path(found["bundle"])), to).paths.root)
    console().print("this was done before: nothing is trained or evaluated again")
    return found


def _request(
    given: StudyOptions, keys: Sequence[str], *, target_ms: float, trials: int, to: Path | None
) -> "CompressionRequest":
    from chorale.datasets.config import read_config, to_plain_values
    from chorale.search.champion.compress.final_stage import CompressionRequest
    from chorale.search.commands.ensemble import sweep_of
    from chorale.search.commands.export import study_contents
    from chorale.search.config import yaml_file
    from chorale.search.config.schema import SweepConfig

    sweep = sweep_of(given)
    if keys:
        overrides = yaml_file.parse_overrides(keys)
        values = yaml_file.merge_overrides(to_plain_values(sweep), overrides)
        sweep = read_config(SweepConfig, values, where=f"chorale compress {given.name}")
    return CompressionRequest(study_contents(given, sweep), target_ms, trials, to)


def _study_of(given: StudyOptions) -> str:
    """The name if it is that of a study, or the study that made the champion of that name.

    Raises:
        UserError: it is a bundle's folder, or there is no such champion.
    """
    from chorale.search.commands.export import champion_in_use, registry_of
    from chorale.search.paths import BundlePaths

    name = given.name
    manifest = BundlePaths(Path(name).expanduser()).manifest
    if manifest.is_file():
        from chorale.search.bundle.bundle import Bundle

        study = Bundle.open(Path(name).expanduser()).manifest.study
        raise UserError(
            f"'{name}' is a bundle, which holds no tracks to train a student on; give the study "
            f"that made it: chorale compress {study}"
        )
    registry = registry_of(given.runs, name)
    return name if registry is None else champion_in_use(registry, name).manifest.study
