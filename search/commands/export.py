"""`chorale export STUDY|CHAMPION --to FOLDER`: packages an ensemble as a bundle, or as ONNX."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.datasets.errors import UserError
from chorale.search.commands.command import command, require
from chorale.search.commands.console import console, progress_console
from chorale.search.commands.output_file import require_writable
from chorale.search.commands.parameters import FILE, FOLDER, StudyName, flag
from chorale.search.commands.study_options import StudyOptions, ledger_options
from chorale.search.paths import Runs

if TYPE_CHECKING:
    from chorale.search.bundle.bundle import Bundle
    from chorale.search.champion.pack.pack import BundleContents
    from chorale.search.champion.registry.registry import Registry
    from chorale.search.config.schema import SweepConfig

CHAMPION_PREFIX = "champions"
"""The prefix of a champion's name where a study has the same name: champions/NAME."""


@command(
    examples=[
        "chorale export my_study --to my_bundle",
        "chorale export my_study --onnx my_study.onnx --int8",
        "chorale export champions/music --to music_bundle",
    ]
)
@click.argument("study", type=StudyName(), metavar="STUDY|CHAMPION")
@click.option(
    "--to",
    type=FOLDER,
    metavar="FOLDER",
    show_default="RUNS/STUDY/bundle; required for a champion",
    help="The bundle's folder; an existing bundle is replaced.",
)
@click.option(
    "--onnx",
    type=FILE,
    metavar="FILE",
    help="Also write one end-to-end ONNX graph, from a mono waveform at the printed sample rate to "
    "the probabilities; needs the extra onnx.",
)
@flag("--int8", "Quantise the graph's dense layers to 8 bits, which changes its output slightly.")
@ledger_options
def run(given: StudyOptions, to: Path | None, onnx: Path | None, int8: bool) -> int:
    """Packs the ensemble of a finished study into a bundle.

    A bundle is one folder with everything that prediction needs (networks, ensemble, calibration,
    labels, a model card). It contains no pickle, every file is hashed, and it needs neither the
    study nor the ledger. For a champion, its current bundle is copied; where a study has the same
    name, type champions/NAME.
    """
    require(
        onnx is not None or not int8,
        "--int8 applies to the ONNX graph, but there is none; add --onnx FILE",
    )
    if to is not None:
        require_writable(to, option="--to", is_folder=True)
    if onnx is not None:
        require_writable(onnx, option="--onnx")
    from chorale.search.console.progress import Progress

    registry = registry_of(given.runs, given.name)
    with Progress(progress_console()).keep_alive("export"):
        if registry is None:
            bundle = export_study(given, to)
        else:
            bundle = export_champion(registry, given.name, to)
    size_mb = sum(f.stat().st_size for f in bundle.paths.root.rglob("*") if f.is_file()) / 1e6
    manifest = bundle.manifest
    console().print(
        f"{bundle.paths.root}: {manifest.kind} of {manifest.members_text}, "
        f"{len(manifest.networks)} networks, {size_mb:.1f} MB, {bundle.digest[:12]}\n"
        f"try it: chorale predict FILE --bundle {bundle.paths.root}",
        markup=False,
        soft_wrap=True,
    )
    if onnx is not None:
        with Progress(progress_console()).keep_alive("ONNX"):
            _export_onnx(bundle, onnx, int8=int8)
    return 0


def _export_onnx(bundle: "Bundle", to: Path, *, int8: bool) -> None:
    from chorale.search.bundle.predictor import Predictor
    from chorale.search.champion.export.onnx_file import end_to_end_network, export_onnx

    network = end_to_end_network(Predictor(bundle))
    export_onnx(network, to)
    if int8:
        from chorale.search.champion.export.quantise import quantise

        quantise(to, to)
    console().print(
        f"{to}: waveform at {network.sample_rate} Hz -> probabilities; "
        f"{to.stat().st_size / 1e6:.1f} MB",
        markup=False,
        soft_wrap=True,
    )


def registry_of(runs: Runs, name: str) -> "Registry | None":
    """The registry of the champion `name` or champions/NAME; None where `name` is a study."""
    from chorale.search.champion.registry.registry import Registry

    plain = name.removeprefix(f"{CHAMPION_PREFIX}/")
    paths = runs.champion(plain)
    if plain == name and (not paths.pointer.is_file() or runs.study(name).report_json.is_file()):
        return None
    return Registry(paths)


def export_champion(registry: "Registry", name: str, to: Path | None) -> "Bundle":
    """Copies the bundle of the champion in use.

    Raises:
        UserError: there is none, it is damaged, or no folder was given.
    """
    from chorale.search.bundle.writing import copy_bundle

    bundle = champion_in_use(registry, name)
    if to is None:
        raise UserError(
            f"expected a folder for the copy of the champion's bundle; type: chorale export "
            f"{name} --to FOLDER"
        )
    return copy_bundle(bundle, to)


def champion_in_use(registry: "Registry", name: str) -> "Bundle":
    """The bundle of the current champion.

    Raises:
        UserError: there is none, or it is damaged.
    """
    bundle = registry.current()
    if bundle is None:
        raise UserError(
            f"there is no champion '{name.removeprefix(f'{CHAMPION_PREFIX}/')}' in "
            f"'{registry.paths.root}'; promote a study: chorale champion promote STUDY"
        )
    return bundle


def packed_bundle(given: StudyOptions) -> "Bundle":
    """The bundle in the study's own folder; packed again where its report is newer.

    Raises:
        UserError: as `export_study`.
    """
    from chorale.search.bundle.bundle import Bundle

    paths = given.runs.study(given.name)
    manifest, report = paths.bundle.manifest, paths.report_json
    both = manifest.is_file() and report.is_file()
    if both and manifest.stat().st_mtime_ns > report.stat().st_mtime_ns:
        return Bundle.open(paths.bundle.root)
    return export_study(given, None)


def export_study(given: StudyOptions, to: Path | None) -> "Bundle":
    """Packs a study; by default into its own folder.

    Raises:
        UserError: there is no such study, it is not finished, or parts of it are missing.
    """
    from chorale.search.champion.pack.pack import pack_bundle
    from chorale.search.commands.ensemble import sweep_of

    sweep = sweep_of(given)
    return pack_bundle(study_contents(given, sweep), sweep.paths.bundle.root if to is None else to)


def study_contents(given: StudyOptions, sweep: "SweepConfig") -> "BundleContents":
    """The contents of a finished study's bundle.

    Raises:
        UserError: as `export_study`.
    """
    from chorale.search.champion.pack.pack import collect_contents
    from chorale.search.commands.ensemble import ground_truth_of_study, report_of

    report = report_of(sweep)
    with given.open() as ledger:
        rows = ledger.rows(sweep.name, "search")
    kinds = {int(key): row.facts.get("architecture", "") for key, row in rows.items()}
    return collect_contents(sweep, ground_truth_of_study(sweep), report, kinds)
