"""`chorale data prune`: removes cached features that no study needs."""

import json

import click

from chorale.search.commands.command import command
from chorale.search.commands.parameters import Number, flag, json_option
from chorale.search.commands.study_options import StudyOptions, ledger_options


@command(examples=["chorale data prune --dry-run", "chorale data prune --max-gb 20"])
@click.option(
    "--max-gb",
    type=Number(0),
    metavar="N",
    help="Also remove the latest of a kind, the least recently used first, until the cache takes "
    "at most N GB; those of running or interrupted studies stay.",
)
@flag("--dry-run", "List what would be removed, and remove nothing.", name="dry")
@json_option
@ledger_options
def run(given: StudyOptions, max_gb: float | None, dry: bool, as_json: bool) -> int:
    """Removes cached features that no study needs.

    Each change of the data creates a new feature store, so the cache of a nightly schedule only
    grows. Kept are those of running or interrupted studies, the latest of each kind, and those that
    were used in the last hour. Where a complete study needs removed features again (chorale
    compress), they are recomputed from the audio.
    """
    from chorale.search.data import feature_stores

    max_bytes = None if max_gb is None else 1e9 * max_gb
    has_ledger = given.store is not None or given.runs.ledger.is_file()
    ledger = given.open() if has_ledger else None
    try:
        every = feature_stores.cached_stores(given.runs, ledger)
        removable = feature_stores.removable_stores(every, max_bytes=max_bytes)
        if not dry:
            removable = feature_stores.prune(given.runs, ledger, max_bytes=max_bytes)
    finally:
        if ledger is not None:
            ledger.close()
    kept = [one for one in every if one.folder not in {other.folder for other in removable}]
    if as_json:
        content = {
            "removed": [] if dry else [str(one.folder) for one in removable],
            "would_remove": [str(one.folder) for one in removable] if dry else [],
            "kept": {str(one.folder): one.needed for one in kept},
            "n_bytes": sum(one.n_bytes for one in removable),
        }
        print(json.dumps(content, indent=2))
        return 0
    for one in kept:
        print(f"kept      {one.folder.name}  {one.n_bytes / 1e6:.1f} MB: {one.needed}")
    for one in removable:
        print(f"{'to remove' if dry else 'removed'}  {one.folder.name}  {one.n_bytes / 1e6:.1f} MB")
    n_mb, outcome = sum(one.n_bytes for one in removable) / 1e6, "would be " if dry else ""
    print(f"{len(removable)} of {len(every)} feature stores {outcome}removed, {n_mb:.1f} MB")
    left = sum(one.n_bytes for one in kept)
    if max_bytes is not None and left > max_bytes:
        print(f"{left / 1e9:.2f} GB are left, above --max-gb {max_gb:g}: in use")
    return 0
