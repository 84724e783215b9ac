"""The champion in the tracker of the study that made it: a version of a model, and its aliases.

Called after the registry has changed, whose `champion.json` is the truth: what could not be written
is written by the next call, or by `chorale track champion`.
"""

from collections.abc import Mapping
from pathlib import Path

from chorale.datasets.errors import UserError
from chorale.search.bundle.bundle import Bundle
from chorale.search.champion.registry.registry import Registry
from chorale.search.config.track_config import TrackConfig, read_track
from chorale.search.config.yaml_file import read_yaml
from chorale.search.ledger.reader import LedgerReader
from chorale.search.paths import Runs
from chorale.search.tracking.base import Artifact
from chorale.search.tracking.content import study_id
from chorale.search.tracking.sync import open_tracker

CHAMPION, CHALLENGER = "champion", "challenger"
"""Aliases of versions of a model."""


def track_champion(runs: Runs, name: str, *, challenger: Path | None = None) -> list[str]:
    """Points the alias `champion` at the present champion, and `challenger` at a bundle.

    Nothing is done for a bundle whose study is not tracked: its sweep file has no `track`.

    Args:
        runs: the folder of all studies.
        name: the champion's name, which is the model's.
        challenger: the folder of a night's candidate.

    Returns:
        A line for each alias.

    Raises:
        TrackerError: the tracker cannot be used.
        UserError: there is no champion, or its bundle or its study cannot be read.
    """
    champion = Registry(runs.champion(name)).current()
    bundles: dict[str, Bundle] = {} if champion is None else {CHAMPION: champion}
    if challenger is not None:
        bundles[CHALLENGER] = Bundle.open(challenger)
    lines = []
    for alias, bundle in bundles.items():
        study = bundle.manifest.study
        values = _sweep_values(runs, study)
        if values.get("track"):
            track = read_track(values["track"], where=str(runs.study(study).sweep_yaml))
            url = str(values.get("store") or runs.ledger_url)
            lines.append(_register(name, alias, bundle, track, url))
    return lines


def _register(model: str, alias: str, bundle: Bundle, track: TrackConfig, ledger_url: str) -> str:
    study = bundle.manifest.study
    with LedgerReader(ledger_url) as ledger:
        identity = study_id(ledger.study(study))
    tracker = open_tracker(track)
    try:
        stored = Artifact(bundle.paths.root, bundle.digest)
        version = tracker.register(model, identity, stored, [alias])
    finally:
        tracker.close()
    return f"{tracker.place}: version {version} of model '{model}', of study {study}, is {alias}"


def _sweep_values(runs: Runs, study: str) -> Mapping[str, object]:
    """The sweep file that is kept with a study; empty where it was deleted."""
    file = runs.study(study).sweep_yaml
    return read_yaml(file) if file.is_file() else {}


def track_or_explain(runs: Runs, name: str, *, challenger: Path | None = None) -> list[str]:
    """`track_champion`, with an error as a line: the champion has changed in any case."""
    try:
        return track_champion(runs, name, challenger=challenger)
    except UserError as error:
        return [f"{error}; write the champion there later with: chorale track champion {name}"]
