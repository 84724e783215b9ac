"""Names of a study's stages in the ledger, and the keys of the finalists' rows."""

from dataclasses import dataclass

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
