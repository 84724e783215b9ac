"""`chorale data leak NAME [--key value]`: what a careless split would have claimed."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chorale.search.config.schema import SweepConfig
    from chorale.search.evaluation.protocols import Claims

HELP = """\
usage: chorale data leak NAME [--key value ...]

Scores one quick classifier three times on the same segments of a dataset's tracks: with segments
shuffled, so that a track is on both sides; with tracks shuffled, so that an artist is; and with
groups disjoint. The difference is what a careless split would have claimed. NAME is a dataset, a
sweep file, or a shipped sweep; the locked test set is not looked at. Datasets: chorale data list

  --key value   sets a key of the dataset (--root FOLDER) or of the sweep (--split.test 0.3,
                --features.mel.n_mels 64); without a sweep file the features are MFCCs

  chorale data leak synthetic
  chorale data leak fsdd --root fsdd.zip
"""

BAR = 40
"""Characters of a bar that stands for 100 %."""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    from rich.console import Console

    from chorale.search.commands.sweep_words import named_sweep
    from chorale.search.console.progress import Progress

    named = named_sweep(words, command="data leak", feature="mfcc")
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    with Progress(console).never_silent("data leak"):
        found = leak(named.sweep, where=named.where, console=console)
    for line in lines(found):
        console.print(line, markup=False, soft_wrap=True)
    return 0


def leak(sweep: "SweepConfig", *, where: str, console: "object") -> "Claims":
    """What each protocol says of the development tracks of a sweep.

    Raises:
        UserError, ClusterError: the data is not there, or cannot be split by groups.
    """
    import dataclasses
    from typing import cast

    from rich.console import Console

    from chorale.datasets.audit.leaks import KINDS
    from chorale.search.config.resolve import resolve
    from chorale.search.console.progress import Progress
    from chorale.search.data.tracks import divisible_tracks
    from chorale.search.sweep.workers import extraction

    # leaks are what is looked for here, so they stop nothing
    tolerant = dataclasses.replace(sweep, audit=dataclasses.replace(sweep.audit, accept=KINDS))
    resolved = resolve(tolerant, where=where)
    progress = Progress(cast(Console, console))
    tracks = divisible_tracks(resolved, progress)
    # Imported now that the tracks are there: these bring what features are computed with.
    from chorale.datasets.store.feature_store import FeatureStore
    from chorale.search.data.prepare import prepare
    from chorale.search.evaluation.protocols import claims

    with extraction(sweep.cluster, runs=sweep.runs_folder.root, n_tracks=len(tracks)) as run:
        prepared = prepare(resolved, progress, run, tracks)
    name = "mfcc" if "mfcc" in prepared.stores else next(iter(prepared.stores))
    rows = prepared.rows(prepared.split.development_ids)
    return claims(
        FeatureStore.open(prepared.stores[name]),
        rows,
        labels=prepared.labels[rows],
        groups=prepared.groups(rows),
        seed=sweep.split.seed,
    )


def lines(found: "Claims") -> list[str]:
    """The table as text, with a bar for each protocol, and what it comes to in one sentence."""
    made = [
        f"{found.n_segments} segments of {found.segment_s:.2g} s, of {found.n_tracks} tracks in "
        f"{found.n_groups} groups, {found.n_folds} folds; logistic regression; "
        f"chance is {found.chance:.1%}",
        "",
    ]
    for claim in found.claims:
        bar = "█" * round(claim.accuracy * BAR)
        low, high = claim.ci95
        made.append(f"{claim.protocol:<18} {claim.accuracy:6.1%}  {low:6.1%} to {high:6.1%}  {bar}")
    careless, honest = found.claims[0], found.claims[-1]
    points = 100 * (careless.accuracy - honest.accuracy)
    made += [
        "",
        f"With {careless.protocol} one would have claimed {careless.accuracy:.1%}; on groups that "
        f"were never heard the same classifier is worth {honest.accuracy:.1%}, "
        f"{abs(points):.1f} points {'less' if points >= 0 else 'more'}.",
    ]
    if honest.few_groups:
        made.append(f"There are only {found.n_groups} groups: that makes the intervals wide.")
    return made
