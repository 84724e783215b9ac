import pytest

from chorale.datasets.label_sets import is_multi_label, join_labels, labels_of


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
