"""Labels of tracks that may have several at once (multi-label): their text, and as a matrix.

The column `label` of a track table has a track's labels in one text, sorted and separated by
`LABEL_SEPARATOR`. A table with such a text is multi-label; in any other, each track has one class.
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

Where a function takes it, two dimensions mean multi-label."""


def labels_of(text: str) -> tuple[str, ...]:
    """The labels in the text of one track."""
    return tuple(text.split(LABEL_SEPARATOR))


def join_labels(names: Iterable[str]) -> str:
    """The text of one track's labels: sorted, each once, without spaces around them."""
    return LABEL_SEPARATOR.join(sorted({name.strip() for name in names} - {""}))


def is_multi_label(texts: Iterable[str]) -> bool:
    """Whether a track has several labels."""
    return any(LABEL_SEPARATOR in text for text in texts)


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
    """The labels of tracks as numbers: int64 (n,), or uint8 (n, n_classes) where multi-label.

    Raises:
        KeyError: a label is not one of the `class_names`.
    """
    import numpy as np

    if is_multi_label(texts):
        return indicator_matrix(texts, class_names).astype(np.uint8)
    index = {name: i for i, name in enumerate(class_names)}
    return np.array([index[text] for text in texts], dtype=np.int64)


def one_row_per_label(tracks: "pd.DataFrame") -> "pd.DataFrame":
    """A track table with one row for each label of each track; as it is where none has several."""
    if not is_multi_label(tracks["label"]):
        return tracks
    each = tracks.assign(label=tracks["label"].map(labels_of))
    return each.explode("label", ignore_index=True).astype({"label": "str"})
