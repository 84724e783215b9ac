"""Labels that are nearly equal are pointed out with what to write; others are not."""

import pytest
import yaml

from chorale.datasets.audit.label_names import similar_labels, similar_text


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["Dog", "dog ", "cat"], [("Dog", "dog ")]),
        (["cat", "Cat"], [("cat", "Cat")]),
        (
            ["hip-hop", "hiphop", "Hip Hop", "hip_hop"],
            [("hiphop", "hip_hop", "hip-hop", "Hip Hop")],
        ),
        (["01", "1", "2"], [("1", "01")]),
        (["1.0", "10", "1"], [("1", "1.0")]),
        (["caf\u00e9", "cafe\u0301"], [("caf\u00e9", "cafe\u0301")]),
        (["C", "C#", "rock", "rocks", "-", "."], []),
    ],
)
def test_labels_that_differ_only_in_writing_are_found(
    labels: list[str], expected: list[tuple[str, ...]]
) -> None:
    found = similar_labels(dict.fromkeys(labels, 3))
    assert [set(group) for group in found] == [set(group) for group in expected]
    assert [group[0] for group in found] == [group[0] for group in expected]


def test_the_most_frequent_label_comes_first() -> None:
    assert similar_labels({"dog": 1, "Dog": 5}) == [("Dog", "dog")]


@pytest.mark.parametrize(
    "labels", [("Dog", "dog ", "DOG"), ("1", "01"), ("no", "No"), ('a"b', "A'b")]
)
def test_the_text_has_what_to_write_in_yaml(labels: tuple[str, ...]) -> None:
    text = similar_text(labels, dict.fromkeys(labels, 2))
    written = text.split("--labels.merge '", 1)[1].removesuffix("'")
    assert yaml.safe_load(written) == {labels[0]: list(labels[1:])}
    assert f"labels: {{merge: {written}}}" in text
