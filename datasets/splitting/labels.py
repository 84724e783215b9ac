"""Classes that are left out, merged, or split by track: changes of a track table before its split.

A track of several labels loses those that are left out, and is left out where none remains. Labels
that are only trained on stay; the split is of the other labels, and of the tracks that have one.
`datasets.splitting.rare_classes` finds the classes that such a change is due for.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from chorale.datasets.errors import UserError, join_first, with_nearest
from chorale.datasets.label_sets import (
    UNKNOWN_COLUMN,
    class_names_of,
    has_several_labels,
    labels_of,
    one_row_per_label,
    text_of,
    unknown_texts,
)
from chorale.datasets.splitting.labels_config import LabelsConfig
from chorale.datasets.splitting.split_config import SplitConfig

if TYPE_CHECKING:
    import pandas as pd

TrackCounts = Mapping[str, int]
"""Class -> its number of tracks."""


@dataclass(frozen=True)
class LabelChanges:
    """What was changed: class -> number of tracks.

    `merged` maps a new class to its former classes; `by_track` are classes of one group whose
    tracks are split one by one, as `audit.accept` allows; `train_only` are classes, or labels, that
    are learned and not scored.
    """

    left_out: TrackCounts = field(default_factory=dict)
    merged: Mapping[str, TrackCounts] = field(default_factory=dict)
    by_track: TrackCounts = field(default_factory=dict)
    train_only: TrackCounts = field(default_factory=dict)

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

    @property
    def by_track_text(self) -> str:
        """The exception from a split by group, for the protocol text; empty if there is none."""
        n = len(self.by_track)
        return f" (by track for {n} {'class' if n == 1 else 'classes'} of one group)" if n else ""

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
    counts = track_counts(tracks, [*config.leave_out, *old_to_new])
    changes = LabelChanges(
        {name: counts[name] for name in config.leave_out},
        {new: {old: counts[old] for old in every} for new, every in config.merge.items()},
    )
    return relabelled(tracks, config.leave_out, old_to_new), changes


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
    return tracks.assign(group=group), LabelChanges(by_track=track_counts(tracks, single))


def scored_tracks(tracks: "pd.DataFrame", train_only: Collection[str]) -> "pd.DataFrame":
    """The tracks that have another class or label than those only trained on, without these."""
    return relabelled(tracks, train_only, {})


def relabelled(
    tracks: "pd.DataFrame", leave_out: Collection[str], old_to_new: Mapping[str, str]
) -> "pd.DataFrame":
    """The table without some labels and with others renamed; without tracks that have none left."""
    if not leave_out and not old_to_new:
        return tracks
    changed = {text: _new_text(text, leave_out, old_to_new) for text in set(tracks["label"])}
    labels = tracks["label"].map(changed).astype("str")
    kept = (labels != "").to_numpy()
    table = tracks.assign(label=labels)
    if UNKNOWN_COLUMN in tracks:
        names = set(class_names_of(labels))
        unknown = [
            text_of({*labels_of(_new_text(one, leave_out, old_to_new))} - {*labels_of(new)})
            for one, new in zip(unknown_texts(tracks), labels, strict=True)
        ]
        table = table.assign(**{UNKNOWN_COLUMN: unknown})
        # a track that had no label stays where one is known to be absent
        is_known = [not names <= {*labels_of(text)} for text in unknown]
        kept = kept | ((tracks["label"] == "").to_numpy() & is_known)
    return table[kept].reset_index(drop=True)


def _new_text(text: str, leave_out: Collection[str], old_to_new: Mapping[str, str]) -> str:
    """The labels of a track without those left out; empty if none is left."""
    return text_of(old_to_new.get(name, name) for name in labels_of(text) if name not in leave_out)


def track_counts(tracks: "pd.DataFrame", names: Collection[str]) -> dict[str, int]:
    """The number of tracks of each of these classes."""
    counts = one_row_per_label(tracks)["label"].value_counts()
    return {name: int(counts[name]) for name in names}


def _summary(counts: TrackCounts) -> str:
    classes = "1 class" if len(counts) == 1 else f"{len(counts)} classes"
    names = join_first(f"'{name}' ({n})" for name, n in counts.items())
    return f"{classes} with {tracks_text(sum(counts.values()))}: {names}"


def tracks_text(n: int) -> str:
    """The number in words: "1 track", "2 tracks"."""
    return "1 track" if n == 1 else f"{n} tracks"
