"""Errors for unknown names: what was typed, what is near, what is allowed."""

from chorale.datasets.errors import unknown_name_error


def test_an_unknown_name_error_offers_the_nearest_name_and_all_others() -> None:
    error = str(unknown_name_error("architecture", "crn", ["mlp", "crnn"]))
    assert error == "unknown architecture 'crn'; did you mean 'crnn'? choose from: crnn, mlp"


def test_an_unknown_name_error_says_where_nothing_is_allowed() -> None:
    assert str(unknown_name_error("option", "--foo", [])).endswith("there is none to choose from")


def test_an_unknown_name_error_lists_forty_names_at_most() -> None:
    names = [f"night-{i:04}" for i in range(1_000)]
    error = str(unknown_name_error("study", "night-099", names))
    assert "did you mean 'night-099" in error
    assert error.endswith("night-0039, and 960 more")
