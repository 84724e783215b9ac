"""What a person says of the split and of the leaks that it may have.

`datasets.splitting.split` and `datasets.audit.leaks` obey it; here, NumPy is not needed to read it.
"""

from typing import Annotated, Literal

from pydantic import Field

from chorale.datasets.config import config

Kind = Literal["duplicates", "labels", "groups", "few_groups"]
"""duplicates: one recording on two sides of the split; labels: one recording under two labels;
groups: one group on two sides; few_groups: a class whose tracks are all of one group."""


@config
class SplitConfig:
    """How tracks are divided into a locked test set and folds."""

    by: Literal["group", "track"] = "group"
    """what stays on one side: a whole group, or only a track, which claims too much wherever a
    group has several tracks (an artist's sound is then learnt, not the genre)"""
    test: Annotated[float, Field(ge=0.02, le=0.5)] = 0.2
    """share of the tracks that is locked away, unless an official test set or test_groups say so"""
    test_groups: tuple[str, ...] = ()
    """groups that are locked away, by name"""
    test_fold: Annotated[int, Field(ge=0)] | None = None
    """an official fold (0, 1, ...) that is locked away; the others stay folds"""
    seed: Annotated[int, Field(ge=0)] = 0
    """of the draw"""
