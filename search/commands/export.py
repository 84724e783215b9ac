"""`chorale export STUDY|CHAMPION --to FOLDER`: an ensemble as a folder that predicts by itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError
from chorale.search.commands.study_words import StudyWords, console, study_words
from chorale.search.paths import Runs

if TYPE_CHECKING:
    from chorale.search.bundle.bundle import Bundle
    from chorale.search.champion.pack.pack import Packed
    from chorale.search.champion.registry.registry import Shelf
    from chorale.search.config.schema import SweepConfig

CHAMPIONS = "champions"
"""Before a champion's name, where a study has the same."""

HELP = """\
usage: chorale export STUDY|CHAMPION [--to FOLDER] [--onnx FILE [--int8]] [--runs FOLDER]
                      [--store URL]

Packs the ensemble of a finished study into one folder with everything that prediction needs:
networks, ensemble, calibration, labels, a model card. No pickle is in it, every file is hashed, and
it needs neither the study nor the ledger any more. Of a champion, the bundle that is in use now is
copied; where a study has the same name, type champions/NAME.

  --to FOLDER    where to; a bundle that is there is replaced (RUNS/STUDY/bundle; a champion's
                 has no such place)
  --onnx FILE    also all of it as one ONNX graph, from a mono waveform at the rate that is told to
                 the probabilities; needs the extra `onnx`
  --int8         the graph's dense layers with 8 bits a weight, which changes what it says a little
  --runs FOLDER  the folder of all studies (runs)
  --store URL    the ledger, where it is not in that folder
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    given = study_words(words, options=["to", "onnx"], flags=["int8"])
    name = given.named("export")
    if "int8" in given.flags and "onnx" not in given.options:
        raise UserError("--int8 is about the ONNX graph, but none is asked for; add --onnx FILE")
    to = Path(given.options["to"]).expanduser() if "to" in given.options else None
    from chorale.search.console.progress import Progress

    shelf = champion_of(given.runs, name)
    with Progress(console()).never_silent("export"):
        bundle = export(given, name, to) if shelf is None else export_champion(shelf, name, to)
    size_mb = sum(f.stat().st_size for f in bundle.paths.root.rglob("*") if f.is_file()) / 1e6
    manifest = bundle.manifest
    console().print(
        f"{bundle.paths.root}: {manifest.kind} of {manifest.said}, "
        f"{len(manifest.networks)} networks, {size_mb:.1f} MB, {bundle.digest[:12]}\n"
        f"try it: chorale predict FILE --bundle {bundle.paths.root}",
        soft_wrap=True,
    )
    if "onnx" in given.options:
        graph = Path(given.options["onnx"]).expanduser()
        with Progress(console()).never_silent("ONNX"):
            _export_onnx(bundle, graph, small="int8" in given.flags)
    return 0


def _export_onnx(bundle: "Bundle", to: Path, *, small: bool) -> None:
    from chorale.search.bundle.predictor import Predictor
    from chorale.search.champion.export.onnx_file import export_onnx, whole_of

    whole = whole_of(Predictor(bundle))
    export_onnx(whole, to)
    if small:
        from chorale.search.champion.export.quantise import quantise

        quantise(to, to)
    console().print(
        f"{to}: waveform at {whole.sample_rate} Hz -> proba, each; {to.stat().st_size / 1e6:.1f} MB"
    )


def champion_of(runs: Runs, name: str) -> "Shelf | None":
    """The champions called `name`, or champions/NAME; None where a study is meant."""
    from chorale.search.champion.registry.registry import Shelf

    plain = name.removeprefix(f"{CHAMPIONS}/")
    paths = runs.champion(plain)
    if plain == name and (not paths.pointer.is_file() or runs.study(name).report_json.is_file()):
        return None
    return Shelf(paths)


def export_champion(shelf: "Shelf", name: str, to: Path | None) -> "Bundle":
    """Copies the bundle of the champion in use.

    Raises:
        UserError: there is none, it is damaged, or it is not said where to.
    """
    from chorale.search.bundle.writing import copy_bundle

    bundle = current(shelf, name)
    if to is None:
        raise UserError(
            f"expected where the champion's bundle is copied to; type: chorale export {name} "
            f"--to FOLDER"
        )
    return copy_bundle(bundle, to)


def current(shelf: "Shelf", name: str) -> "Bundle":
    """The champion in use.

    Raises:
        UserError: there is none, or it is damaged.
    """
    bundle = shelf.current()
    if bundle is None:
        raise UserError(
            f"there is no champion '{name.removeprefix(f'{CHAMPIONS}/')}' in "
            f"'{shelf.paths.root}'; promote a study: chorale champion promote STUDY"
        )
    return bundle


def packed(given: StudyWords, name: str) -> "Bundle":
    """The bundle in the study's own folder; packed anew where its report has changed since.

    Raises:
        UserError: as `export`.
    """
    from chorale.search.bundle.bundle import Bundle

    paths = given.runs.study(name)
    manifest, report = paths.bundle.manifest, paths.report_json
    both = manifest.is_file() and report.is_file()
    if both and manifest.stat().st_mtime_ns > report.stat().st_mtime_ns:
        return Bundle.open(paths.bundle.root)
    return export(given, name, None)


def export(given: StudyWords, name: str, to: Path | None) -> "Bundle":
    """Packs study `name`; by default into its own folder.

    Raises:
        UserError: there is no such study, it is not finished, or parts of it are missing.
    """
    from chorale.search.champion.pack.pack import pack
    from chorale.search.commands.ensemble import sweep_of

    sweep = sweep_of(given, name)
    return pack(collected(given, sweep), sweep.paths.bundle.root if to is None else to)


def collected(given: StudyWords, sweep: "SweepConfig") -> "Packed":
    """What a finished study's bundle is made of.

    Raises:
        UserError: as `export`.
    """
    from chorale.search.champion.pack.pack import collect
    from chorale.search.commands.ensemble import report_of, truth_of_study

    report = report_of(sweep)
    ledger = given.open()
    try:
        rows = ledger.rows(sweep.name, "search")
    finally:
        ledger.close()
    kinds = {int(key): row.facts.get("architecture", "") for key, row in rows.items()}
    return collect(sweep, truth_of_study(sweep), report, kinds)
