"""`chorale compress STUDY|CHAMPION --target-ms 30`: distils an ensemble into one small network."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.datasets.errors import UserError
from chorale.search.commands.output_file import require_writable
from chorale.search.commands.study_options import StudyOptions, console, parse_study_options

if TYPE_CHECKING:
    from chorale.search.champion.compress.final_stage import CompressionRequest

DEFAULT_TARGET_MS = 30.0
DEFAULT_TRIALS = 12

HELP = """\
usage: chorale compress STUDY|CHAMPION [--target-ms MS] [--trials N] [--to FOLDER]
                        [--cluster.KEY value ...] [--take-over] [--runs FOLDER] [--store URL]

Compresses the ensemble of a finished study into one network by knowledge distillation: the network
is trained on the labels and the ensemble's predictions, and its architecture is searched among
those within a latency limit. Shows the scores, latency and size of each variant (also pruned and
quantised ones); one is chosen by out-of-fold scores and written as a bundle. It trains on the
study's data, which must still be in place. To resume an interrupted run, type the same again.

  --target-ms MS   the latency limit for 30 s of audio on one thread, features included (30)
  --trials N       how many candidates are tried; those over the limit are not trained (12)
  --to FOLDER      the folder of the chosen variant's bundle (RUNS/STUDY-student-MSms/bundle)
  --cluster.KEY    other workers than the study's: --cluster.address none
  --take-over      even if another process seems to run it; that one loses its lease
  --runs FOLDER    the folder of all studies (runs)
  --store URL      the ledger, where it is not in that folder
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    dotted = _dotted(args)
    options = ["target-ms", "trials", "to", *dotted]
    given = parse_study_options(args, options=options, flags=["take-over"])
    name = _study_of(given, given.require_name("compress"))
    target_ms = _number(given, "target-ms", DEFAULT_TARGET_MS)
    trials = _number(given, "trials", DEFAULT_TRIALS)
    if trials != int(trials):
        raise UserError(f"--trials must be a whole number, but got {trials:g}; try --trials 12")

    from chorale.search.champion.compress.run import compress_ensemble, student_name
    from chorale.search.console.progress import Progress
    from chorale.search.sweep.bucket import synchronised

    out = console()
    request = _request(given, name, dotted, target_ms=target_ms, trials=int(trials))
    sweep = request.contents.sweep
    student = student_name(name, target_ms)
    earlier = sweep.runs_folder.study(student).compress_json
    again = shlex.join(["chorale", "compress", *(w for w in args if w != "--take-over")])
    try:
        with synchronised(sweep.runs, student, warn=print), Progress(out).keep_alive("compress"):
            found = _earlier_result(
                earlier, request.to, trials=request.trials
            ) or compress_ensemble(request, console=out, take_over="take-over" in given.flags)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        from chorale.search import interrupts

        if isinstance(error, KeyboardInterrupt) or interrupts.was_interrupted():
            line = f"\nInterrupted; what has finished is kept. Resume with:  {again}"
            out.print(line, markup=False, soft_wrap=True)
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
    given: StudyOptions, name: str, dotted: Sequence[str], *, target_ms: float, trials: int
) -> "CompressionRequest":
    from chorale.datasets.config import read_config, to_plain_values
    from chorale.search.champion.compress.final_stage import CompressionRequest
    from chorale.search.commands.ensemble import sweep_of
    from chorale.search.commands.export import study_contents
    from chorale.search.config import yaml_file
    from chorale.search.config.schema import SweepConfig

    sweep = sweep_of(given, name)
    if dotted:
        overrides = yaml_file.parse_overrides([f"--{key}={given.options[key]}" for key in dotted])
        values = yaml_file.merge_overrides(to_plain_values(sweep), overrides)
        sweep = read_config(SweepConfig, values, where=f"chorale compress {name}")
    to = None
    if "to" in given.options:
        to = require_writable(Path(given.options["to"]), option="--to", is_folder=True)
    return CompressionRequest(study_contents(given, sweep), target_ms, trials, to)


def _study_of(given: StudyOptions, name: str) -> str:
    """`name` if it is a study, or the study that made the champion `name`.

    Raises:
        UserError: it is a bundle's folder, or there is no such champion.
    """
    from chorale.search.commands.export import champion_in_use, registry_of
    from chorale.search.paths import BundlePaths

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


def _number(given: StudyOptions, option: str, default: float) -> float:
    text = given.options.get(option)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise UserError(
            f"--{option} must be a number above 0, but got '{text}'; try --{option} {default:g}"
        )
    return number


def _dotted(args: Sequence[str]) -> list[str]:
    """The `cluster.` keys among the arguments.

    Raises:
        UserError: a key of another section.
    """
    keys = [w[2:].partition("=")[0] for w in args if w.startswith("--") and "." in w.split("=")[0]]
    for key in keys:
        if key.split(".")[0] != "cluster":
            raise UserError(
                f"--{key}: a student is searched with its study's settings; only --cluster.KEY may "
                f"change, and the number of candidates: --trials {DEFAULT_TRIALS}"
            )
    return keys
