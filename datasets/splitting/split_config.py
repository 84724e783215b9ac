"""Config of the split and the kinds of leaks, without importing NumPy.

`datasets.splitting.split` and `datasets.audit.leaks` use it.
"""

from typing import Annotated, Literal

from pydantic import Field

from chorale.datasets.config import NameList, config

LeakKind = Literal["duplicates", "labels", "groups", "few_groups"]
"""duplicates: one recording on two sides of the split; labels: one recording under two labels;
groups: one group on two sides; few_groups: a class whose tracks are all of one group, which is then
split by track."""


@config
class SplitConfig:
    """How tracks are split into a locked test set and folds."""

    by: Literal["group", "track"] = "group"
    """the unit that stays on one side: a whole group, or a single track, which gives too
    optimistic scores if a group has several tracks (the artist's sound is learnt, not the genre)"""
    test: Annotated[float, Field(ge=0.02, le=0.5)] = 0.2
    """share of the tracks in the test set, unless there is an official one or test_groups"""
    test_groups: NameList = ()
    """the groups of the test set, by name"""
    test_fold: Annotated[int, Field(ge=0)] | None = None
    """an official fold (0, 1, ...) that becomes the test set; the others stay folds"""
    time: bool = False
    """the latest groups are the test set, and each fold is validated on a later block of groups
    than it is trained on (forward chaining); groups are ordered by their last track, and every
    track needs a time"""
    seed: Annotated[int, Field(ge=0)] = 0
    """of the draw"""
