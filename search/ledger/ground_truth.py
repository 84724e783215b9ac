"""Ground truth: the labels and groups of a study's tracks, with the split.

Ensembles and scores need only this and the prediction bank. It is kept in the study's folder, so
that they can be made again without the dataset.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from chorale.datasets.atomic import write_json
from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import UNKNOWN, LabelArray, without_classes
from chorale.datasets.splitting.split import Split
from chorale.search.paths import StudyPaths


@dataclass(frozen=True)
class GroundTruth:
    """The label, an index into `class_names`, and the group of each track of `split`.

    Where tracks have several labels (multi-label), `label_of` gives a tuple of indices, and
    `unscored` are the labels that are only trained on, `unknown_of` those of a track that are
    `UNKNOWN`, where there are any.
    """

    class_names: tuple[str, ...]
    split: Split
    label_of: Mapping[str, int | tuple[int, ...]] = field(hash=False)
    group_of: Mapping[str, str] = field(hash=False)
    unscored: tuple[int, ...] = ()
    unknown_of: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)

    @cached_property
    def multi_label(self) -> bool:
        """Whether tracks have several labels."""
        return any(isinstance(label, tuple) for label in self.label_of.values())

    def classes_of(self, track_id: str) -> tuple[int, ...]:
        """The indices of a track's labels."""
        label = self.label_of[track_id]
        return label if isinstance(label, tuple) else (label,)

    def labels(self, track_ids: Iterable[str]) -> LabelArray:
        """The labels in the order of `track_ids`: class indices (n,), int64.

        Where multi-label, 0 and 1 (n, n_classes), int8; those that are not scored are `UNKNOWN`.
        """
        if not self.multi_label:
            return np.array([self.label_of[track] for track in track_ids], dtype=np.int64)
        ids = list(track_ids)
        found = np.zeros((len(ids), len(self.class_names)), np.int8)
        for row, track in enumerate(ids):
            found[row, list(self.classes_of(track))] = 1
            found[row, list(self.unknown_of.get(track, ()))] = UNKNOWN
        return without_classes(found, self.unscored)

    @property
    def scored_classes(self) -> np.ndarray:
        """A mask (n_classes,) of the classes that are in the test set or in a fold, bool.

        The others are only trained on.
        """
        mask = np.zeros(len(self.class_names), dtype=bool)
        for track in (*self.split.test_ids, *self.split.development_ids):
            mask[list(self.classes_of(track))] = True
        mask[list(self.unscored)] = False
        return mask

    def groups(self, track_ids: Iterable[str]) -> np.ndarray:
        """The tracks' groups, in the order of `track_ids`."""
        return np.array([self.group_of[track] for track in track_ids], dtype=str)


def write_ground_truth(paths: StudyPaths, truth: GroundTruth) -> None:
    """Writes it into the study's folder, beside the split."""
    tracks = {t: [truth.label_of[t], truth.group_of[t]] for t in sorted(truth.label_of)}
    content: dict[str, Any] = {
        "split": truth.split.hash,
        "class_names": list(truth.class_names),
        "tracks": tracks,
    }
    if truth.unscored:
        content["unscored"] = list(truth.unscored)
    if truth.unknown_of:
        content["unknown"] = {t: truth.unknown_of[t] for t in sorted(truth.unknown_of)}
    write_json(paths.ground_truth_json, content)


def read_ground_truth(paths: StudyPaths) -> GroundTruth | None:
    """Reads what `write_ground_truth` wrote; None for a study of an older version.

    Raises:
        UserError: the files are damaged, or of different splits.
    """
    if not paths.ground_truth_json.is_file():
        return None
    try:
        split = Split.from_json(json.loads(paths.split_json.read_text(encoding="utf-8")))
        content = json.loads(paths.ground_truth_json.read_text(encoding="utf-8"))
        tracks = content["tracks"]
        names = tuple(content["class_names"])
        labels = {
            track: tuple(map(int, label)) if isinstance(label, list) else int(label)
            for track, (label, _) in tracks.items()
        }
        groups = {track: str(group) for track, (_, group) in tracks.items()}
        unscored = tuple(map(int, content.get("unscored", ())))
        unknown = {t: tuple(map(int, one)) for t, one in content.get("unknown", {}).items()}
        same = content["split"] == split.hash
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"the ground truth of the study's tracks cannot be read ({error}); delete "
            f"{paths.ground_truth_json}, and it is made again from the dataset"
        ) from None
    if not same or not {*split.test_ids, *split.trained_ids} <= labels.keys():
        raise UserError(
            f"{paths.ground_truth_json} belongs to another split than {paths.split_json}; delete "
            f"it, and it is made again from the dataset"
        )
    return GroundTruth(names, split, labels, groups, unscored, unknown)
