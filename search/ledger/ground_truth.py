"""What is true of a study's tracks: labels, groups, and the split. No audio.

All that ensembles and scores need beside the bank; it is kept with the study, so that they can be
made again where the data is not.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from chorale.datasets.atomic import write_json
from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import Split
from chorale.search.paths import StudyPaths

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Truth:
    """The label, an index into `class_names`, and the group of each track of `split`."""

    class_names: tuple[str, ...]
    split: Split
    label_of: Mapping[str, int] = field(hash=False)
    group_of: Mapping[str, str] = field(hash=False)

    def labels(self, track_ids: Iterable[str]) -> np.ndarray:
        """Class indices, int64, in the order asked for."""
        return np.array([self.label_of[track] for track in track_ids], dtype=np.int64)

    def groups(self, track_ids: Iterable[str]) -> np.ndarray:
        """The tracks' groups, in the order asked for."""
        return np.array([self.group_of[track] for track in track_ids], dtype=str)


def write_truth(paths: StudyPaths, truth: Truth) -> None:
    """Keeps it with the study, beside the split."""
    tracks = {t: [truth.label_of[t], truth.group_of[t]] for t in sorted(truth.label_of)}
    content = {"split": truth.split.hash, "class_names": list(truth.class_names), "tracks": tracks}
    write_json(paths.truth_json, content)


def read_truth(paths: StudyPaths) -> Truth | None:
    """What `write_truth` kept; None where a study has none, as those of older versions.

    Raises:
        UserError: the files are damaged, or do not belong together.
    """
    if not paths.truth_json.is_file():
        return None
    try:
        split = Split.from_json(json.loads(paths.split_json.read_text(encoding="utf-8")))
        content = json.loads(paths.truth_json.read_text(encoding="utf-8"))
        tracks = content["tracks"]
        names = tuple(content["class_names"])
        labels = {track: int(label) for track, (label, _) in tracks.items()}
        groups = {track: str(group) for track, (_, group) in tracks.items()}
        same = content["split"] == split.hash
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"what is true of the study's tracks cannot be read ({error}); delete "
            f"{paths.truth_json}, and it is made anew from the dataset"
        ) from None
    if not same or not {*split.test_ids, *split.development_ids} <= labels.keys():
        raise UserError(
            f"{paths.truth_json} belongs to another split than {paths.split_json}; delete it, and "
            f"it is made anew from the dataset"
        )
    return Truth(names, split, labels, groups)
