"""Places the tracks of classes that are only trained on: in no validation fold and no test set.

Tracks of several labels that also have another one are split as all others.

`datasets.splitting.split` calls it after all other tracks are split.
"""

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from chorale.datasets.splitting.partition import Split
from chorale.datasets.splitting.rare_classes import fixed_test_tracks
from chorale.datasets.splitting.split_config import SplitConfig

if TYPE_CHECKING:
    import pandas as pd

_TEST = -1


def add_train_only(
    split: Split, scored: "pd.DataFrame", rest: "pd.DataFrame", config: SplitConfig
) -> Split:
    """The split with the tracks of `rest` to train on.

    A track whose group has tracks in a fold, or that the dataset itself puts there, is not trained
    on where that fold is validated. One whose group is in the test set, or that is later than all
    development tracks of a split by time, is in no part of the split.

    Args:
        split: of `scored`.
        scored: the tracks that are split.
        rest: the tracks that are only trained on.
        config: how `scored` was split.
    """
    owner = "track_id" if config.by == "track" else "group"
    side_of = {**dict.fromkeys(split.test_ids, _TEST), **split.fold_of, **split.train_only}
    sides = scored["track_id"].map(side_of)
    of_owner = dict(zip(scored[owner], sides, strict=True))
    in_folds = scored["fold"].notna()
    of_fold = dict(zip(scored["fold"][in_folds], sides[in_folds], strict=True))
    ends = scored["time"].groupby(sides).max()
    last = rest.groupby(owner)["time"].max()
    rest = rest.sort_values("track_id")
    columns = (rest["track_id"], rest[owner], rest["fold"], fixed_test_tracks(rest, config))
    found = {}
    for name, mine, fold, is_test in zip(*columns, strict=True):
        if mine in of_owner:
            side = of_owner[mine]
        elif is_test:
            side = _TEST
        elif split.by_time:
            blocks = [at for at in range(split.n_folds + 1) if ends.get(at, -inf) >= last[mine]]
            side = max(blocks, default=_TEST)
        else:
            side = of_fold.get(fold, split.n_folds)
        if side != _TEST:
            found[str(name)] = int(side)
    return replace(split, train_only={**split.train_only, **found})
