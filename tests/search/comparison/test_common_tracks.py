"""Which test tracks several studies have in common, and the groups of the intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import Split
from chorale.search.comparison.common_tracks import common_test_tracks
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.statistics.scores import paired_difference


def study(
    test: Sequence[str], rest: Sequence[str], group_of: Mapping[str, str] | None = None
) -> GroundTruth:
    """A study of two classes and two folds; by default each track is a group."""
    tracks = (*test, *rest)
    split = Split(tuple(test), {track: i % 2 for i, track in enumerate(rest)}, "", 2, 0)
    labels = {track: int(track[-1]) % 2 for track in tracks}
    groups = {track: (group_of or {}).get(track, track) for track in tracks}
    return GroundTruth(("x", "y"), split, labels, groups)


REST = ("r0", "r1", "r2", "r3")


def test_tracks_in_every_test_set_are_common_in_the_order_of_the_first_study() -> None:
    found = common_test_tracks(
        {"a": study(("t1", "t2", "t3"), REST), "b": study(("t3", "t2", "t4"), (*REST, "t1"))}
    )
    assert found.ids == ("t2", "t3")
    assert found.labels.tolist() == [0, 1]
    assert (found.n_left_out, found.n_familiar) == (0, 0)


def test_a_track_of_a_group_that_only_one_study_was_trained_on_is_left_out() -> None:
    """Study b was split by track, so it knows the other track of the first one's artist."""
    artists = {"t1": "ann", "r0": "ann"}
    by_artist = study(("t1", "t2", "r0"), REST[1:], artists)
    by_track = study(("t1", "t2"), REST, artists)
    for each in ({"a": by_artist, "b": by_track}, {"b": by_track, "a": by_artist}):
        found = common_test_tracks(each)
        assert found.ids == ("t2",)
        assert (found.n_left_out, found.n_familiar) == (1, 0)
    # where b does not know of artists, a's grouping shows it
    found = common_test_tracks({"a": by_artist, "b": study(("t1", "t2"), REST)})
    assert found.ids == ("t2",)
    # where both know the artist, both have the same advantage
    found = common_test_tracks({"b": by_track, "c": by_track})
    assert found.ids == ("t1", "t2")
    assert (found.n_left_out, found.n_familiar) == (0, 1)


def test_tracks_that_any_study_puts_into_one_group_are_in_one() -> None:
    test = ("t0", "t1", "t2", "t3", "t4")
    by_album = {"t0": "p", "t1": "p", "t2": "q", "t3": "q"}
    by_label = {"t1": "p", "t2": "p"}  # names of groups of different studies are unrelated
    found = common_test_tracks({"a": study(test, REST, by_album), "b": study(test, REST, by_label)})
    groups = found.groups.tolist()
    assert groups[0] == groups[1] == groups[2] == groups[3] != groups[4]


def test_intervals_over_joined_groups_cover_and_those_over_one_studys_groups_do_not() -> None:
    """Two equally good models whose errors depend on the artist; one study knows only albums."""
    test = tuple(f"t{i}" for i in range(120))
    rest = ("r0", "r1")
    artist = {track: f"artist {i // 12}" for i, track in enumerate(test)}
    album = {track: f"album {i // 3}" for i, track in enumerate(test)}
    both = {"a": study(test, rest, album), "b": study(test, rest, artist)}
    found = common_test_tracks(both)
    assert len(set(found.groups.tolist())) == 10
    albums = both["a"].groups(found.ids)
    n_sets, excluded = 150, {"joined": 0, "albums": 0}
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        probas = []
        for _ in range(2):
            share = rng.beta(1.5, 1.0, size=10)  # of an artist's tracks that a model knows
            right = rng.random(len(test)) < np.repeat(share, 12)
            guess = np.where(right, found.labels, 1 - found.labels)
            probas.append(np.eye(2)[guess])
        for name, groups in (("joined", found.groups), ("albums", albums)):
            _, (low, high) = paired_difference(probas[0], probas[1], found.labels, groups)
            excluded[name] += not low <= 0 <= high
    assert excluded["joined"] <= 0.08 * n_sets
    assert excluded["albums"] > 0.15 * n_sets


def test_what_cannot_be_compared_is_refused_in_one_line() -> None:
    plain = study(("t0", "t1"), REST[1:])
    other_classes = replace(plain, class_names=("x", "z"))
    several = replace(plain, label_of={t: (one,) for t, one in plain.label_of.items()})  # type: ignore[misc]
    swapped = replace(plain, label_of={t: 1 - int(t[-1]) % 2 for t in plain.label_of})
    disjoint = study(("t8",), REST)
    known = study(("t0", "t1"), REST, {"t0": "ann", "t1": "ann", "r0": "ann"})
    for other, message in (
        (other_classes, "their classes differ: only 'a' has y; only 'b' has z"),
        (several, "tracks of 'a' have one class each, those of 'b' several labels"),
        (swapped, "2 of 2 common test tracks have other labels in 'b' than in 'a', such as 't0'"),
        (disjoint, r"\('a' 2, 'b' 1\): they have none in common; run one of them again"),
        (known, "only some were trained on the groups of the 2 in common"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            common_test_tracks({"a": plain, "b": other})
        assert "\n" not in str(caught.value)
