"""Names of a study's stages in the ledger, their wall times, and the keys of finalists' rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorale.search.paths import StudyPaths

if TYPE_CHECKING:
    from chorale.search.ledger.reader import Row

SEARCH = "search"
"""One row per trial."""

FINALISTS = "finalists"
"""One row per retraining of a finalist: see `Job`."""

ATTEMPTS = "attempts"
"""One row per attempt at a training run that was lost."""


@dataclass(frozen=True)
class Job:
    """One retraining of trial `number`: the fold that is held out, and the seed."""

    number: int
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """The display name."""
        return f"trial {self.number} fold {self.fold}" + (f" seed {self.seed}" if self.seed else "")

    @property
    def key(self) -> str:
        """The ledger's key."""
        return f"{self.number}/{self.fold}/{self.seed}"


def complete_seeds(rows: "Mapping[str, Row]", n_folds: int) -> dict[int, tuple[int, ...]]:
    """Finalist -> the seeds with which it was trained on every fold; only of those that have any.

    `rows` are the ledger's of the finalists.
    """
    folds: dict[tuple[int, int], int] = {}
    for key, row in rows.items():
        number, _, seed = map(int, key.split("/"))
        if row.state == "COMPLETE":
            folds[number, seed] = folds.get((number, seed), 0) + 1
    found: dict[int, tuple[int, ...]] = {}
    for (number, seed), n in sorted(folds.items()):
        if n == n_folds:
            found[number] = (*found.get(number, ()), seed)
    return found


def read_stages_s(paths: StudyPaths) -> dict[str, float]:
    """Stage -> its wall seconds so far, in all runs; empty for a study of an older version."""
    path = paths.stages_json
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
