"""`chorale data prune [--max-gb N] [--dry-run]`: removes cached features that no study needs."""

import json
from collections.abc import Sequence

from chorale.search.commands.study_options import parse_study_options

HELP = """\
usage: chorale data prune [--max-gb N] [--dry-run] [--json] [--runs FOLDER] [--store URL]

Removes cached features that no study needs. Each change of the data creates a new feature store, so
the cache of a nightly schedule only grows. Kept are those of running or interrupted studies, the
latest of each kind, and those that were used in the last hour. Where a complete study needs removed
features again (chorale compress), they are recomputed from the audio.

  --max-gb N     also removes the latest of a kind, the least recently used first, until the cache
                 takes at most N GB; those of running or interrupted studies stay
  --dry-run      lists what would be removed, and removes nothing
  --json         print JSON
  --runs FOLDER  the folder of all studies (runs)
  --store URL    the ledger, where it is not in that folder
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from chorale.datasets.errors import UserError
    from chorale.search.data import feature_stores

    given = parse_study_options(args, options=["max-gb"], flags=["dry-run", "json"])
    if given.study is not None:
        raise UserError(f"expected no name, but got '{given.study}'; type: chorale data prune")
    max_bytes = _bytes(given.options.get("max-gb"))
    has_ledger = "store" in given.options or given.runs.ledger.is_file()
    ledger = given.open() if has_ledger else None
    try:
        every = feature_stores.cached_stores(given.runs, ledger)
        dry = "dry-run" in given.flags
        removable = feature_stores.removable_stores(every, max_bytes=max_bytes)
        if not dry:
            removable = feature_stores.prune(given.runs, ledger, max_bytes=max_bytes)
    finally:
        if ledger is not None:
            ledger.close()
    kept = [one for one in every if one.folder not in {other.folder for other in removable}]
    if "json" in given.flags:
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
        print(f"{left / 1e9:.2f} GB are left, above --max-gb {given.options['max-gb']}: in use")
    return 0


def _bytes(max_gb: str | None) -> float | None:
    from chorale.datasets.errors import UserError

    if max_gb is None:
        return None
    try:
        limit = float(max_gb)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise UserError(f"--max-gb should be a number of GB, 0 or more, but got '{max_gb}'")
    return 1e9 * limit
