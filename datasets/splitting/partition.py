"""The partition of a dataset's tracks: a locked test set, folds, and tracks only trained on.

`datasets.splitting.split` makes it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chorale.datasets.errors import UserError


@dataclass(frozen=True)
class Split:
    """The test tracks, and the fold of each development track.

    `test_ids` are sorted; `fold_of` maps each development track, sorted, to 0 .. `n_folds` - 1;
    `protocol` describes how the test set and the folds were made.

    `train_only` tracks are trained on and never predicted: it maps each to the fold whose networks
    must not be trained on it, as it has tracks of the same group, or to `n_folds`. In a split
    `by_time` fold 0 is the latest: its networks are trained on all tracks of higher numbers.
    """

    test_ids: tuple[str, ...]
    fold_of: Mapping[str, int] = field(hash=False)
    protocol: str
    n_folds: int
    seed: int
    train_only: Mapping[str, int] = field(default_factory=dict, hash=False)
    by_time: bool = False

    def __post_init__(self) -> None:
        if set(self.test_ids) & {*self.fold_of, *self.train_only}:
            raise ValueError("a track is both in the test set and in a fold")
        if set(self.fold_of) & set(self.train_only):
            raise ValueError("a track is both validated and only trained on")
        if not set(self.train_only.values()) <= set(range(self.n_folds + 1)):
            raise ValueError(f"the folds of train_only must be 0 to {self.n_folds}")
        if self.by_time and self.n_folds not in self.train_only.values():
            raise ValueError("a split by time needs tracks before its first fold")
        if set(self.fold_of.values()) != set(range(self.n_folds)):
            raise ValueError(f"the folds must be 0 to {self.n_folds - 1}, none of them empty")

    @property
    def hash(self) -> str:
        """SHA-256, in hexadecimal, of the partition: equal for equal partitions, however drawn."""
        content: dict[str, Any] = {
            "test": sorted(self.test_ids),
            "folds": sorted(self.fold_of.items()),
        }
        if self.train_only:
            content |= {"train_only": sorted(self.train_only.items()), "by_time": self.by_time}
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def development_ids(self) -> tuple[str, ...]:
        """The tracks of all folds, which networks predict out of fold, in `fold_of`'s order."""
        return tuple(self.fold_of)

    @property
    def trained_ids(self) -> tuple[str, ...]:
        """All tracks that a model of the whole development set is trained on: `development_ids`
        and then `train_only`.
        """
        return (*self.fold_of, *self.train_only)

    def train_ids(self, fold: int) -> tuple[str, ...]:
        """The tracks that networks validated on `fold` are trained on.

        All outside of it; in a split by time, those before it.
        """
        self._check(fold)
        every = {**self.fold_of, **self.train_only}
        return tuple(
            name for name, at in every.items() if (at > fold if self.by_time else at != fold)
        )

    def valid_ids(self, fold: int) -> tuple[str, ...]:
        """The development tracks in `fold`."""
        self._check(fold)
        return tuple(name for name, at in self.fold_of.items() if at == fold)

    def _check(self, fold: int) -> None:
        if fold not in range(self.n_folds):
            raise ValueError(f"fold must be 0 to {self.n_folds - 1}, but got {fold=}")

    def to_json(self) -> dict[str, Any]:
        """The split as JSON values; `from_json` reads them back."""
        return {
            "protocol": self.protocol,
            "n_folds": self.n_folds,
            "seed": self.seed,
            "hash": self.hash,
            "test_ids": list(self.test_ids),
            "fold_of": dict(self.fold_of),
            "train_only": dict(self.train_only),
            "by_time": self.by_time,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Split":
        """The split from the result of `to_json`.

        Raises:
            UserError: `content` is no split, or was changed since it was written.
        """
        try:
            values = {name: value for name, value in content.items() if name != "hash"}
            split = cls(**{**values, "test_ids": tuple(content["test_ids"])})
            expected, got = content["hash"], split.hash
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"this is not a split that Chorale wrote ({error}); start a study of another name"
            ) from None
        if got != expected:
            raise UserError(
                f"the split's stored hash is {str(expected)[:12]}, but its content's hash is "
                f"{got[:12]}: it was changed by hand; restore the file, or start a study of "
                f"another name"
            )
        return split
