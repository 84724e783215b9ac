"""`chorale data prune [--dry-run]`: removes the features in the cache that nobody needs."""

import json
from collections.abc import Sequence

from chorale.search.commands.study_words import study_words

HELP = """\
usage: chorale data prune [--dry-run] [--json] [--runs FOLDER] [--store URL]

Removes cached features that no study needs. Each change of the data makes a new set of them, so
that the cache of a schedule of nights only grows. Kept are those of studies that are running or
interrupted, the latest of each kind, and what was used in the last hour. A complete study that is
taken up again (chorale compress) makes what is gone once more, from the audio.

  --dry-run      says what would go, and removes nothing
  --json         one JSON object, for scripts
  --runs FOLDER  the folder of all studies (runs)
  --store URL    the ledger, where it is not in that folder
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    from chorale.datasets.errors import UserError
    from chorale.search.data import feature_stores

    given = study_words(words, flags=["dry-run", "json"])
    if given.study is not None:
        raise UserError(f"expected no name, but got '{given.study}'; type: chorale data prune")
    has_ledger = "store" in given.options or given.runs.ledger.is_file()
    ledger = given.open() if has_ledger else None
    try:
        every = feature_stores.survey(given.runs, ledger)
        dry = "dry-run" in given.flags
        gone = [one for one in every if not one.needed]
        if not dry:
            gone = feature_stores.prune(given.runs, ledger)
    finally:
        if ledger is not None:
            ledger.close()
    kept = [one for one in every if one.folder not in {other.folder for other in gone}]
    if "json" in given.flags:
        said = {
            "removed": [] if dry else [str(one.folder) for one in gone],
            "would_remove": [str(one.folder) for one in gone] if dry else [],
            "kept": {str(one.folder): one.needed for one in kept},
            "n_bytes": sum(one.n_bytes for one in gone),
        }
        print(json.dumps(said, indent=2))
        return 0
    for one in kept:
        print(f"kept      {one.folder.name}  {one.n_bytes / 1e6:.1f} MB: {one.needed}")
    for one in gone:
        print(f"{'would go' if dry else 'removed'}  {one.folder.name}  {one.n_bytes / 1e6:.1f} MB")
    n_mb, went = sum(one.n_bytes for one in gone) / 1e6, "would go" if dry else "went"
    print(f"{len(gone)} of {len(every)} feature stores {went}, {n_mb:.1f} MB")
    return 0
