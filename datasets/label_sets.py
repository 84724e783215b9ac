"""Labels of tracks that may have several at once (multi-label): their text, and as a matrix.

The column `label` of a track table has a track's labels in one text, sorted and separated by
`LABEL_SEPARATOR`. A table with such a text is multi-label; in any other, each track has one class.

A multi-label table may have a column `unknown`, in the same form: the labels of a track of which it
is not known whether it has them. All others, of those in the table, it does not have. Such a track
may have no label at all, if it is known of one that it is absent.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

LABEL_SEPARATOR = ";"

LabelArray: TypeAlias = "NDArray[np.integer[Any]]"
"""The labels of n tracks: one class each, as an index (n,), or several, as 0 and 1 (n, n_classes).

Where a function takes it, two dimensions mean multi-label, and a value may be `UNKNOWN`: such a
pair of a track and a label is neither trained on nor scored."""

UNKNOWN_COLUMN = "unknown"

UNKNOWN = -1
"""In multi-label labels (n, n_classes): it is not known whether the track has the label."""


def is_present(labels: LabelArray) -> "NDArray[np.bool_]":
    """Which labels (n, n_classes) are known to be present."""
    import numpy as np

    return np.greater(labels, 0)


def is_known(labels: LabelArray) -> "NDArray[np.bool_]":
    """Of which labels (n, n_classes) it is known whether they are present."""
    import numpy as np

    return np.not_equal(labels, UNKNOWN)


def without_classes(labels: LabelArray, columns: Sequence[int]) -> LabelArray:
    """Multi-label labels with these columns `UNKNOWN`, so that they are in no score."""
    if not len(columns):
        return labels
    found = labels.copy()
    found[:, list(columns)] = UNKNOWN
    return found


def labels_of(text: str) -> tuple[str, ...]:
    """The labels in the text of one track; an empty text has none."""
    return tuple(text.split(LABEL_SEPARATOR)) if text else ()


def text_of(names: Iterable[str]) -> str:
    """The text of one track's labels, each once: the inverse of `labels_of`."""
    return LABEL_SEPARATOR.join(sorted(set(names)))


def join_labels(names: Iterable[str]) -> str:
    """The text of one track's labels as they are written somewhere: without spaces around them."""
    return text_of({name.strip() for name in names} - {""})


def sorted_labels(text: str) -> str:
    """The text of one track's labels, which are written in any order and perhaps with spaces."""
    return join_labels(text.split(LABEL_SEPARATOR))


def is_multi_label(texts: Iterable[str]) -> bool:
    """Whether a track has several labels."""
    return any(LABEL_SEPARATOR in text for text in texts)


def unknown_texts(tracks: "pd.DataFrame") -> list[str]:
    """The text of each track's unknown labels; empty ones where the table has no such column."""
    if UNKNOWN_COLUMN not in tracks:
        return [""] * len(tracks)
    return [str(text) for text in tracks[UNKNOWN_COLUMN]]


def has_several_labels(tracks: "pd.DataFrame") -> bool:
    """Whether a track table is multi-label."""
    return is_multi_label(tracks["label"]) or UNKNOWN_COLUMN in tracks


def class_names_of(texts: Iterable[str]) -> tuple[str, ...]:
    """All labels of some tracks, sorted."""
    return tuple(sorted({name for text in set(texts) for name in labels_of(text)}))


def indicator_matrix(texts: Sequence[str], class_names: Sequence[str]) -> "NDArray[np.bool_]":
    """Which track has which label: (n_tracks, n_classes).

    Raises:
        KeyError: a label is not one of the `class_names`.
    """
    import numpy as np

    column = {name: i for i, name in enumerate(class_names)}
    columns_of = {text: [column[name] for name in labels_of(text)] for text in set(texts)}
    found = np.zeros((len(texts), len(class_names)), dtype=bool)
    for row, text in enumerate(texts):
        found[row, columns_of[text]] = True
    return found


def label_array(texts: Sequence[str], class_names: Sequence[str]) -> LabelArray:
    """The labels of tracks as numbers: int64 (n,), or int8 (n, n_classes) where multi-label.

    Raises:
        KeyError: a label is not one of the `class_names`.
    """
    import numpy as np

    if is_multi_label(texts):
        return indicator_matrix(texts, class_names).astype(np.int8)
    index = {name: i for i, name in enumerate(class_names)}
    return np.array([index[text] for text in texts], dtype=np.int64)


def track_labels(tracks: "pd.DataFrame", class_names: Sequence[str]) -> LabelArray:
    """`label_array` of a track table, with its unknown labels.

    Raises:
        KeyError: a label is not one of the `class_names`.
    """
    import numpy as np

    texts = tracks["label"].astype(str).tolist()
    if UNKNOWN_COLUMN not in tracks:
        return label_array(texts, class_names)
    labels = indicator_matrix(texts, class_names).astype(np.int8)
    column = {name: i for i, name in enumerate(class_names)}
    for row, text in enumerate(unknown_texts(tracks)):
        labels[row, [column[name] for name in labels_of(text) if name in column]] = UNKNOWN
    return labels


def one_row_per_label(tracks: "pd.DataFrame") -> "pd.DataFrame":
    """A track table with one row for each label of each track; as it is where none has several."""
    if not has_several_labels(tracks):
        return tracks
    each = tracks.assign(label=tracks["label"].map(labels_of))
    each = each[tracks["label"] != ""]
    return each.explode("label", ignore_index=True).astype({"label": "str"})
