"""`chorale compress STUDY|CHAMPION --target-ms 30`: an ensemble as one small network."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.datasets.errors import UserError
from chorale.search.commands.study_words import StudyWords, console, study_words

if TYPE_CHECKING:
    from chorale.search.champion.compress.ending import Wanted

TARGET_MS = 30.0
TRIALS = 12

HELP = """\
usage: chorale compress STUDY|CHAMPION [--target-ms MS] [--trials N] [--to FOLDER]
                        [--cluster.KEY value ...] [--take-over] [--runs FOLDER] [--store URL]

Makes the ensemble of a finished study small: one network that is taught by labels and by what the
ensemble says, of an architecture that is searched among those that keep to a latency. Shows what
each variant is worth, how long it takes and how large it is; one is chosen by out-of-fold figures
and written as a bundle. It trains on the study's data, which has to be where it was. Interrupted,
it goes on where it was when the same is typed again.

  --target-ms MS   the most that 30 s of sound may take on one thread, features included (30)
  --trials N       how many candidates are tried; those over the limit are not trained (12)
  --to FOLDER      where the chosen one's bundle is put (RUNS/STUDY-student-MSms/bundle)
  --cluster.KEY    other workers than the study's: --cluster.address none
  --take-over      even if another process seems to do it; that one can write no more
  --runs FOLDER    the folder of all studies (runs)
  --store URL      the ledger, where it is not in that folder
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    dotted = _dotted(words)
    options = ["target-ms", "trials", "to", *dotted]
    given = study_words(words, options=options, flags=["take-over"])
    name = _study_of(given, given.named("compress"))
    target_ms = _number(given, "target-ms", TARGET_MS)
    trials = _number(given, "trials", TRIALS)
    if trials != int(trials):
        raise UserError(f"--trials must be a whole number, but got {trials:g}; try --trials 12")

    from chorale.search.champion.compress.run import compress, student_name
    from chorale.search.console.progress import Progress
    from chorale.search.sweep.bucket import carried

    out = console()
    wanted = _wanted(given, name, dotted, target_ms=target_ms, trials=int(trials))
    sweep = wanted.packed.sweep
    student = student_name(name, target_ms)
    kept = sweep.runs_folder.study(student).compress_json
    again = shlex.join(["chorale", "compress", *(w for w in words if w != "--take-over")])
    try:
        with carried(sweep.runs, student, tell=print), Progress(out).never_silent("compress"):
            found = _again(kept, wanted.to, trials=wanted.trials) or compress(
                wanted, console=out, take_over="take-over" in given.flags
            )
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        from chorale.search import interrupts

        if isinstance(error, KeyboardInterrupt) or interrupts.received():
            console().print(f"\nInterrupted; what has ended is kept. Go on with:  {again}")
        raise
    show(found)
    return 0


def show(found: Mapping[str, Any]) -> None:
    """The table, what was chosen, and what to type next."""
    from chorale.search.champion.compress.card import headline
    from chorale.search.champion.compress.variants import table

    out = console()
    out.print(table(found))
    for line in found["left_out"]:
        out.print(line, soft_wrap=True, markup=False)
    out.print(f"* chosen. {headline(found)}", soft_wrap=True, markup=False)
    if not found["fits"]:
        out.print(
            f"Caution: by the clock on the wall it took longer than {found['target_ms']:g} ms; its "
            f"processor worked less, so the machine was busy. Measure again when it is not."
        )
    out.print(f"Use it:  chorale predict FILE --bundle {found['bundle']}", soft_wrap=True)


def _again(kept: Path, to: Path | None, *, trials: int) -> dict[str, Any] | None:
    """What was found earlier; its bundle is copied where another place is asked for.

    None where nothing was, or more trials are asked for by now.

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
    console().print("this was done before; nothing is trained, and nothing is looked at again")
    return found


def _wanted(
    given: StudyWords, name: str, dotted: Sequence[str], *, target_ms: float, trials: int
) -> "Wanted":
    from chorale.datasets.config import plain, read
    from chorale.search.champion.compress.ending import Wanted
    from chorale.search.commands.ensemble import sweep_of
    from chorale.search.commands.export import collected
    from chorale.search.config import yaml_file
    from chorale.search.config.schema import SweepConfig

    sweep = sweep_of(given, name)
    if dotted:
        overrides = yaml_file.overrides([f"--{key}={given.options[key]}" for key in dotted])
        values = yaml_file.merge(plain(sweep), overrides)
        sweep = read(SweepConfig, values, where=f"chorale compress {name}")
    to = Path(given.options["to"]).expanduser() if "to" in given.options else None
    return Wanted(collected(given, sweep), target_ms, trials, to)


def _study_of(given: StudyWords, name: str) -> str:
    """The study that is meant: itself, or the one that made a champion.

    Raises:
        UserError: it is a bundle's folder, or there is no such champion.
    """
    from chorale.search.commands.export import champion_of, current
    from chorale.search.paths import BundlePaths

    manifest = BundlePaths(Path(name).expanduser()).manifest
    if manifest.is_file():
        from chorale.search.bundle.bundle import Bundle

        study = Bundle.open(Path(name).expanduser()).manifest.study
        raise UserError(
            f"'{name}' is a bundle, which holds no tracks to teach a student with; give the study "
            f"that made it: chorale compress {study}"
        )
    shelf = champion_of(given.runs, name)
    return name if shelf is None else current(shelf, name).manifest.study


def _number(given: StudyWords, option: str, usual: float) -> float:
    said = given.options.get(option)
    if said is None:
        return usual
    try:
        number = float(said)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise UserError(
            f"--{option} must be a number above 0, but got '{said}'; try --{option} {usual:g}"
        )
    return number


def _dotted(words: Sequence[str]) -> list[str]:
    """The keys of the study's workers that were given.

    Raises:
        UserError: a key of something else.
    """
    keys = [w[2:].partition("=")[0] for w in words if w.startswith("--") and "." in w.split("=")[0]]
    for key in keys:
        if key.split(".")[0] != "cluster":
            raise UserError(
                f"--{key}: a student is searched as its study was; only --cluster.KEY may change, "
                f"and how many candidates are tried: --trials {TRIALS}"
            )
    return keys
