"""`chorale data leak NAME [--key value]`: how much data leakage inflates the score."""

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from chorale.search.commands.command import command
from chorale.search.commands.console import console, progress_console
from chorale.search.commands.parameters import SweepWords, json_option

if TYPE_CHECKING:
    from rich.console import Console

    from chorale.search.config.schema import SweepConfig
    from chorale.search.evaluation.protocols import ProtocolComparison

BAR_WIDTH = 40
"""Characters of the bar for 100 %."""


@command(
    keys=True,
    examples=[
        "chorale data leak synthetic",
        "chorale data leak fsdd --root fsdd.zip --split.test 0.3",
        "chorale data leak my.yaml --features.mel.n_mels 64 --json",
    ],
)
@click.argument("words", nargs=-1, type=SweepWords(), metavar="NAME [--KEY VALUE ...]")
@json_option
def run(words: tuple[str, ...], as_json: bool) -> int:
    """Measures data leakage: by how much a leaking split overstates the accuracy.

    Cross-validates one fast classifier three times on the same segments of a dataset's tracks: with
    segments shuffled, so that a track is on both sides of the split; with tracks shuffled, so that
    an artist is; and with disjoint groups. Where tracks have several labels it measures the mAP.
    NAME is a dataset (chorale data list), a folder, a sweep file, or a shipped sweep; the locked
    test set is not used. A key is one of the dataset (--root FOLDER) or of the sweep (chorale
    keys); without a sweep file the features are MFCCs.
    """
    from chorale.search.commands.sweep_options import parse_sweep_options
    from chorale.search.console.progress import Progress

    named = parse_sweep_options(words, command="data leak", feature="mfcc")
    shown = progress_console(to_stderr=as_json)
    with Progress(shown).keep_alive("data leak"):
        found = score_protocols(named.sweep, where=named.where, console=shown)
    if as_json:
        print(json.dumps(dataclasses.asdict(found), indent=2))
        return 0
    for line in protocol_lines(found):
        console().print(line, markup=False, soft_wrap=True)
    return 0


def score_protocols(
    sweep: "SweepConfig", *, where: str, console: "Console"
) -> "ProtocolComparison":
    """The cross-validated accuracy, or mAP, of each split protocol on a sweep's development tracks.

    Raises:
        UserError, ClusterError: the data is not there, or cannot be split by groups.
    """
    from chorale.datasets.audit.leaks import LEAK_KINDS
    from chorale.search.config.resolve import resolve
    from chorale.search.console.progress import Progress
    from chorale.search.data.tracks import divisible_tracks
    from chorale.search.sweep.worker_pool import extraction

    # leaks are what is measured here, so they stop nothing; few_groups would change the groups
    tolerated = [kind for kind in LEAK_KINDS if kind != "few_groups" or kind in sweep.audit.accept]
    audit = dataclasses.replace(sweep.audit, accept=tuple(tolerated))
    tolerant = dataclasses.replace(sweep, audit=audit)
    resolved = resolve(tolerant, where=where)
    progress = Progress(console)
    tracks = divisible_tracks(resolved, progress)
    # Imported only once the tracks are read: these import the feature extractors.
    from chorale.datasets.store.feature_store import FeatureStore
    from chorale.search.data.prepare import prepare
    from chorale.search.evaluation.protocols import compare_protocols

    with extraction(sweep.cluster, runs=sweep.runs_folder.root, n_tracks=len(tracks.table)) as run:
        prepared = prepare(resolved, progress, run, tracks)
    name = "mfcc" if "mfcc" in prepared.stores else next(iter(prepared.stores))
    rows = prepared.rows(prepared.split.development_ids)
    labels = prepared.labels[rows]
    if prepared.unscored:  # labels of few groups, which are in no score
        import numpy as np

        labels = np.delete(labels, prepared.unscored, axis=1)
    return compare_protocols(
        FeatureStore.open(prepared.stores[name]),
        rows,
        labels=labels,
        groups=prepared.groups(rows),
        seed=sweep.split.seed,
    )


def protocol_lines(found: "ProtocolComparison") -> list[str]:
    """The table as text, with a bar for each protocol, and one sentence of conclusion."""
    chance = "mAP at random" if found.metric == "mAP" else "chance"
    lines = [
        f"{found.n_segments} segments of {found.segment_s:.2g} s, of {found.n_tracks} tracks in "
        f"{found.n_groups} groups, {found.n_folds} folds; logistic regression; "
        f"{chance} is {found.chance:.1%}",
        "",
    ]
    for score in found.scores:
        bar = "█" * round(score.value * BAR_WIDTH)
        low, high = score.ci95
        lines.append(f"{score.protocol:<18} {score.value:6.1%}  {low:6.1%} to {high:6.1%}  {bar}")
    leaking, disjoint = found.scores[0], found.scores[-1]
    points = 100 * (leaking.value - disjoint.value)
    lines += [
        "",
        f"With {leaking.protocol} the {found.metric} would be reported as {leaking.value:.1%}; on "
        f"unseen groups the same classifier reaches {disjoint.value:.1%}, {abs(points):.1f} "
        f"points {'less' if points >= 0 else 'more'}.",
    ]
    if disjoint.few_groups:
        lines.append(f"There are only {found.n_groups} groups, so the intervals are wide.")
    return lines
