"""What can be done about a sweep's rare classes: the keys to type, and what each would give."""

from dataclasses import replace
from typing import TYPE_CHECKING, get_args

from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import class_names_of, has_several_labels
from chorale.datasets.splitting.labels_config import LabelsConfig, RareAction
from chorale.datasets.splitting.rare_classes import (
    change_rare_classes,
    find_rare_classes,
    fixed_test_tracks,
)
from chorale.datasets.splitting.split_config import SplitConfig

if TYPE_CHECKING:
    import pandas as pd


def rare_class_lines(
    tracks: "pd.DataFrame", labels: LabelsConfig, split: SplitConfig, *, n_folds: int
) -> list[str]:
    """All rare classes of the table that is to be split, and a line for each key that helps.

    Empty where there are none.
    """
    rare = find_rare_classes(tracks, split, min_groups=labels.min_groups, n_folds=n_folds)
    if not rare:
        return []
    classes = "1 class is rare" if len(rare) == 1 else f"{len(rare)} classes are rare"
    every = ", ".join(f"'{one.label}' {one.why}" for one in rare)
    lines = [f"{classes}: {every}."]
    can_split = split.by == "group" and not has_several_labels(tracks)
    if can_split and any(one.n_groups == 1 < one.n_tracks for one in rare):
        lines.append(
            "  --audit.accept '[few_groups]'  splits the classes of one group by track, with too "
            "optimistic scores"
        )
    actions: tuple[RareAction, ...] = get_args(RareAction)
    for action in actions:
        if action == "refuse":
            continue
        if outcome := _outcome(tracks, labels, split, action, n_folds=n_folds):
            lines.append(f"  --labels.rare {action:<11} {outcome}")
    return lines


def more_folds_advice(
    tracks: "pd.DataFrame", labels: LabelsConfig, split: SplitConfig, *, n_folds: int
) -> str:
    """What keeps the wanted number of folds where rare classes are left out or merged."""
    if labels.rare == "refuse" or split.time or fixed_test_tracks(tracks, split).any():
        return ""
    n_groups = n_folds + 1  # one of them in the test set
    rare = find_rare_classes(tracks, split, min_groups=n_groups)
    classes = "1 class" if len(rare) == 1 else f"{len(rare)} classes"
    return f"; --labels.min_groups {n_groups} keeps {n_folds} folds, and changes {classes} more"


def _outcome(
    tracks: "pd.DataFrame",
    labels: LabelsConfig,
    split: SplitConfig,
    action: RareAction,
    *,
    n_folds: int,
) -> str:
    """What the sweep would train on; empty where it could not be split then either."""
    from chorale.datasets.splitting.split import split_tracks

    changed = replace(labels, rare=action)
    table, changes = change_rare_classes(tracks, changed, split, n_folds=n_folds)
    train_only = changes.train_only
    try:
        found, _ = split_tracks(table, split, n_folds=n_folds, train_only=train_only)
    except UserError:
        return ""
    done = {"leave_out": "left out", "merge": "merged into one", "train_only": "never scored"}
    n_changed = sum(map(len, [changes.left_out, *changes.merged.values(), train_only]))
    n_classes = len(class_names_of(table["label"]))
    return (
        f"{n_classes} classes with {len(table)} tracks in {found.n_folds} folds and the test set, "
        f"{n_changed} classes {done[action]}"
    )
