"""Config of the classes: which are left out or merged, and what happens to rare ones.

`datasets.splitting.labels` and `rare_classes` apply it to a track table. NumPy is not imported.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from chorale.datasets.config import config, split_names

RareAction = Literal["refuse", "leave_out", "merge", "train_only"]

MERGED_CLASS = "other"
"""The class into which `rare: merge` merges the rare classes."""

Label = Annotated[str, Field(coerce_numbers_to_str=True, min_length=1)]  # YAML reads 7 as a number


@config
class LabelsConfig:
    """Which of the dataset's classes are learned."""

    leave_out: Annotated[tuple[Label, ...], BeforeValidator(split_names)] = ()
    """classes whose tracks are left out"""
    merge: dict[Label, tuple[Label, ...]] = Field(default_factory=dict)
    """new class -> the classes that are merged into it; it may be one of the dataset's"""
    min_groups: Annotated[int, Field(ge=2)] | None = None
    """a class with fewer groups is rare (fewer tracks where split.by is track, or no groups are
    given); null: with fewer than two folds and the test set need"""
    rare: RareAction = "refuse"
    """what happens to rare classes. refuse: an error names them; leave_out: their tracks are left
    out; merge: they become one class, `other`; train_only: they are learned, and predicted for new
    recordings, but are in no validation fold and no test set, so that no score says how well;
    tracks of several labels are there where they have another label, by which they are scored"""

    def __post_init__(self) -> None:
        old = [name for names in self.merge.values() for name in names]
        named = [*self.leave_out, *old]
        problems = [
            f"'{name}' is named twice in leave_out and merge"
            for name in dict.fromkeys(named)
            if named.count(name) > 1
        ]
        problems += [f"merge: '{new}' lists no class" for new, one in self.merge.items() if not one]
        problems += [
            f"merge: '{new}' is merged into another class, or left out"
            for new, one in self.merge.items()
            if new in named and new not in one
        ]
        if problems:
            raise ValueError("; ".join(problems))
