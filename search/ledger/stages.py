"""The stages of a study as the ledger names them, and the key of a row of the finalists' stage."""

from dataclasses import dataclass

SEARCH = "search"
"""One row a trial."""

FINALISTS = "finalists"
"""One row a retraining of a finalist: see `Job`."""

ATTEMPTS = "attempts"
"""One row a training run that was lost and tried again."""


@dataclass(frozen=True)
class Job:
    """One retraining of trial `number`: the fold that it does not see, and its seed."""

    number: int
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"trial {self.number} fold {self.fold}" + (f" seed {self.seed}" if self.seed else "")

    @property
    def key(self) -> str:
        """The ledger's key."""
        return f"{self.number}/{self.fold}/{self.seed}"
