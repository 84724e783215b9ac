import numpy as np
import pandas as pd
import pytest

from chorale.datasets.base import track_table
from chorale.datasets.label_sets import (
    UNKNOWN,
    UNKNOWN_COLUMN,
    class_names_of,
    has_several_labels,
    is_multi_label,
    join_labels,
    label_array,
    labels_of,
    one_row_per_label,
    track_labels,
    without_classes,
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("piano", ("piano",)),
        ("bass;drums;piano", ("bass", "drums", "piano")),
    ],
)
def test_a_text_has_the_labels_that_were_joined(text: str, names: tuple[str, ...]) -> None:
    assert labels_of(text) == names
    assert labels_of(join_labels(names)) == names


def test_labels_are_joined_in_sorted_order_each_once() -> None:
    assert join_labels(["piano", " bass", "drums", "piano "]) == "bass;drums;piano"
    assert join_labels([]) == ""


def test_a_table_is_multi_label_if_any_track_has_several() -> None:
    assert is_multi_label(["a", "a;b"])
    assert not is_multi_label(["a", "b, c"])


def several(*rows: tuple[str, str]) -> pd.DataFrame:
    return track_table(
        {"track_id": str(i), "label": label, "unknown": unknown, "group": str(i)}
        for i, (label, unknown) in enumerate(rows)
    )


def test_unknown_labels_are_in_the_matrix_and_make_a_table_multi_label() -> None:
    table = several(("a", "b"), ("b", ""), ("", "a"), ("b", "c"))
    assert has_several_labels(table)
    assert class_names_of(table["label"]) == ("a", "b")
    labels = track_labels(table, ("a", "b"))
    assert labels.dtype == np.int8
    assert labels.tolist() == [[1, UNKNOWN], [0, 1], [UNKNOWN, 0], [0, 1]]
    assert one_row_per_label(table)["track_id"].tolist() == ["0", "1", "3"]


def test_a_table_in_which_nothing_is_unknown_has_no_such_column() -> None:
    table = several(("a", ""), ("b", ""))
    assert UNKNOWN_COLUMN not in table
    assert not has_several_labels(table)
    assert track_labels(table, ("a", "b")).tolist() == [0, 1]
    both = several(("a", ""), ("a;b", ""))
    assert track_labels(both, ("a", "b")).tolist() == label_array(["a", "a;b"], ("a", "b")).tolist()


def test_labels_that_are_not_scored_are_unknown() -> None:
    labels = np.array([[1, 0], [0, 1]], np.int8)
    assert without_classes(labels, ()) is labels
    assert without_classes(labels, (1,)).tolist() == [[1, UNKNOWN], [0, UNKNOWN]]
    assert labels.tolist() == [[1, 0], [0, 1]]
