"""Classes that are left out, merged, or split by track: changes of a track table before its split.

A track of several labels loses those that are left out, and is left out where none remains. Labels
that are only trained on stay; the split is of the other labels, and of the tracks that have one.

`search.data` calls it when the tracks are read and again after the audit, which can make classes
rare. Groups are counted as the split counts them: tracks where it is by track.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from chorale.datasets.errors import UserError, join_first, with_nearest
from chorale.datasets.label_sets import (
    LABEL_SEPARATOR,
    UNKNOWN_COLUMN,
    class_names_of,
    has_several_labels,
    join_labels,
    labels_of,
    one_row_per_label,
    unknown_texts,
)
from chorale.datasets.splitting.labels_config import MERGED_CLASS, LabelsConfig
from chorale.datasets.splitting.rare_classes import RareClass, find_rare_classes
from chorale.datasets.splitting.split_config import SplitConfig

if TYPE_CHECKING:
    import pandas as pd

Counts = Mapping[str, int]
"""Class -> its number of tracks."""


@dataclass(frozen=True)
class LabelChanges:
    """What was changed: class -> number of tracks.

    `merged` maps a new class to its former classes; `by_track` are classes of one group whose
    tracks are split one by one, as `audit.accept` allows; `train_only` are classes, or labels, that
    are learned and not scored.
    """

    left_out: Counts = field(default_factory=dict)
    merged: Mapping[str, Counts] = field(default_factory=dict)
    by_track: Counts = field(default_factory=dict)
    train_only: Counts = field(default_factory=dict)

    def then(self, later: "LabelChanges") -> "LabelChanges":
        """These changes and, after them, `later` ones."""
        return LabelChanges(
            {**self.left_out, **later.left_out},
            {
                new: {**self.merged.get(new, {}), **later.merged.get(new, {})}
                for new in dict.fromkeys([*self.merged, *later.merged])
            },
            {**self.by_track, **later.by_track},
            {**self.train_only, **later.train_only},
        )

    def lines(self) -> list[str]:
        """One line for each kind of change, with counts and the first names."""
        found = []
        if self.left_out:
            found.append(f"left out: {_summary(self.left_out)}")
        found += [f"merged into '{new}': {_summary(old)}" for new, old in self.merged.items()]
        if self.by_track:
            found.append(
                f"split by track, as all tracks are of one group (few_groups is accepted): "
                f"{_summary(self.by_track)}; their scores are too optimistic"
            )
        if self.train_only:
            found.append(f"only trained on, never scored: {_summary(self.train_only)}")
        return found

    def as_json(self) -> dict[str, Any]:
        """The fields as plain values; only those that are not empty."""
        return {name: value for name, value in asdict(self).items() if value}


def change_labels(
    tracks: "pd.DataFrame", config: LabelsConfig
) -> "tuple[pd.DataFrame, LabelChanges]":
    """Leaves out and merges the classes that the config names.

    Raises:
        UserError: lists all names that are no class of `tracks`, with the nearest ones.
    """
    old_to_new = {old: new for new, every in config.merge.items() for old in every}
    known = class_names_of(tracks["label"])
    unknown = [name for name in (*config.leave_out, *old_to_new) if name not in known]
    if unknown:
        hints = ", ".join(with_nearest(unknown, known))
        raise UserError(
            f"labels: unknown {hints}; the {len(known)} classes are {join_first(known)}"
        )
    counts = _counts(tracks, [*config.leave_out, *old_to_new])
    changes = LabelChanges(
        {name: counts[name] for name in config.leave_out},
        {new: {old: counts[old] for old in every} for new, every in config.merge.items()},
    )
    return _relabelled(tracks, config.leave_out, old_to_new), changes


def split_single_groups(
    tracks: "pd.DataFrame", *, split: SplitConfig, accept: Collection[str]
) -> "tuple[pd.DataFrame, LabelChanges]":
    """Makes each track of a class of one group a group, where `accept` has few_groups.

    Such a class cannot be on several sides of a split by group. The tracks of other classes stay in
    their groups. Where tracks have several labels nothing is changed: see `refuse_rare_classes`.
    """
    if split.by == "track" or "few_groups" not in accept or has_several_labels(tracks):
        return tracks, LabelChanges()
    groups = tracks.groupby("label")["group"].nunique()
    n_tracks = tracks["label"].value_counts()
    single = [name for name in groups.index if groups[name] == 1 and n_tracks[name] > 1]
    if not single:
        return tracks, LabelChanges()
    group = tracks["group"].where(~tracks["label"].isin(single), tracks["track_id"])
    return tracks.assign(group=group), LabelChanges(by_track=_counts(tracks, single))


def change_rare_classes(
    tracks: "pd.DataFrame",
    config: LabelsConfig,
    split: SplitConfig,
    *,
    n_folds: int,
    train_only: Collection[str] = (),
) -> "tuple[pd.DataFrame, LabelChanges]":
    """Leaves out or merges the rare classes as `config.rare` says; `refuse` changes nothing.

    `n_folds` is how many folds are wanted; `train_only` are classes that are known not to be
    scored. Where fewer tracks move the cuts of a split by time, the classes that are rare then are
    changed, too.
    """
    if config.rare == "refuse":
        return tracks, LabelChanges()
    if config.rare == "train_only":
        scored = scored_tracks(tracks, train_only)
        left_out = replace(config, rare="leave_out")
        _, changes = change_rare_classes(scored, left_out, split, n_folds=n_folds)
        return tracks, LabelChanges(train_only=changes.left_out)
    table, changes = _change_once(tracks, config, split, n_folds=n_folds)
    if not split.time or changes == LabelChanges():
        return table, changes
    table, more = change_rare_classes(table, config, split, n_folds=n_folds)
    return table, changes.then(more)


def scored_tracks(tracks: "pd.DataFrame", train_only: Collection[str]) -> "pd.DataFrame":
    """The tracks that have another class or label than those only trained on, without these."""
    return _relabelled(tracks, train_only, {})


def _change_once(
    tracks: "pd.DataFrame", config: LabelsConfig, split: SplitConfig, *, n_folds: int
) -> "tuple[pd.DataFrame, LabelChanges]":
    found = find_rare_classes(tracks, split, min_groups=config.min_groups, n_folds=n_folds)
    rare = [one.label for one in found]
    if not rare:
        return tracks, LabelChanges()
    counts = _counts(tracks, rare)
    if config.rare == "leave_out":
        return _relabelled(tracks, rare, {}), LabelChanges(counts)
    merged = [name for name in rare if name != MERGED_CLASS]
    if not merged:
        return tracks, LabelChanges()
    changes = LabelChanges(merged={MERGED_CLASS: {name: counts[name] for name in merged}})
    return _relabelled(tracks, (), dict.fromkeys(merged, MERGED_CLASS)), changes


def refuse_rare_classes(
    tracks: "pd.DataFrame",
    config: LabelsConfig,
    split: SplitConfig,
    *,
    n_folds: int,
    accept: Collection[str] = (),
) -> None:
    """Refuses classes with fewer than `min_groups` groups, where `rare` is refuse.

    Without `min_groups` the split itself refuses classes that it cannot place. Labels of one group
    are refused, too, where `accept` has few_groups and tracks have several: their tracks cannot be
    split one by one without other labels of the group being on both sides.

    Raises:
        UserError: names them, and what to type.
    """
    if config.rare != "refuse":
        return
    if split.by == "group" and "few_groups" in accept and has_several_labels(tracks):
        _refuse_labels_of_one_group(tracks, split, n_folds=n_folds)
    if config.min_groups is None:
        return
    rare = find_rare_classes(tracks, split, min_groups=config.min_groups, n_folds=n_folds)
    if rare:
        n = "1 class is" if len(rare) == 1 else f"{len(rare)} classes are"
        raise UserError(
            f"labels: {n} rare, with labels.min_groups={config.min_groups}: "
            f"{listed_rare_classes(rare)}; {rare_advice(rare)}, or lower --labels.min_groups"
        )


def _refuse_labels_of_one_group(
    tracks: "pd.DataFrame", split: SplitConfig, *, n_folds: int
) -> None:
    rare = find_rare_classes(tracks, split, n_folds=n_folds)
    if single := [one for one in rare if one.n_groups == 1 < one.n_tracks]:
        named = join_first(f"'{one.label}' ({_tracks(one.n_tracks)})" for one in single)
        labels = "1 label is" if len(single) == 1 else f"{len(single)} labels are"
        raise UserError(
            f"audit.accept few_groups: {labels} of one group, {named}, whose tracks have other "
            f"labels, too: split one by one, they would make the score of every label too "
            f"optimistic; type --labels.rare train_only or --labels.rare leave_out, or --split.by "
            f"track to accept that for all tracks"
        )


def listed_rare_classes(rare: Collection[RareClass]) -> str:
    """The first rare classes with their reasons."""
    return join_first(f"'{one.label}' {one.why}" for one in rare)


def rare_advice(rare: Collection[RareClass]) -> str:
    """What to type about rare classes."""
    n_tracks = sum(one.n_tracks for one in rare)
    classes = "1 class" if len(rare) == 1 else f"{len(rare)} classes"
    return (
        f"type --labels.rare leave_out (leaves out {classes} with {_tracks(n_tracks)}), "
        f"--labels.rare merge (merges them into '{MERGED_CLASS}'), or --labels.rare train_only "
        f"(learns them without scores)"
    )


def _relabelled(
    tracks: "pd.DataFrame", leave_out: Collection[str], old_to_new: Mapping[str, str]
) -> "pd.DataFrame":
    if not leave_out and not old_to_new:
        return tracks
    changed = {text: _new_text(text, leave_out, old_to_new) for text in set(tracks["label"])}
    labels = tracks["label"].map(changed).astype("str")
    kept = (labels != "").to_numpy()
    relabelled = tracks.assign(label=labels)
    if UNKNOWN_COLUMN in tracks:
        names = set(class_names_of(labels))
        unknown = [
            join_labels({*labels_of(_new_text(one, leave_out, old_to_new))} - {*labels_of(new)})
            for one, new in zip(unknown_texts(tracks), labels, strict=True)
        ]
        relabelled = relabelled.assign(**{UNKNOWN_COLUMN: unknown})
        # a track that had no label stays where one is known to be absent
        is_known = [not names <= {*labels_of(text)} for text in unknown]
        kept = kept | ((tracks["label"] == "").to_numpy() & is_known)
    return relabelled[kept].reset_index(drop=True)


def _new_text(text: str, leave_out: Collection[str], old_to_new: Mapping[str, str]) -> str:
    """The labels of a track without those left out; empty if none is left."""
    kept = {old_to_new.get(name, name) for name in labels_of(text) if name not in leave_out}
    return LABEL_SEPARATOR.join(sorted(kept))


def _counts(tracks: "pd.DataFrame", names: Collection[str]) -> dict[str, int]:
    counts = one_row_per_label(tracks)["label"].value_counts()
    return {name: int(counts[name]) for name in names}


def _summary(counts: Counts) -> str:
    classes = "1 class" if len(counts) == 1 else f"{len(counts)} classes"
    names = join_first(f"'{name}' ({n})" for name, n in counts.items())
    return f"{classes} with {_tracks(sum(counts.values()))}: {names}"


def _tracks(n: int) -> str:
    return "1 track" if n == 1 else f"{n} tracks"
