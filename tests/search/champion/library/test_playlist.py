"""Playlist recommendation: genre shares, no duplicates, diversity that rises with `variety`."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from chorale.search.champion.library.library import Library
from chorale.search.champion.library.order import spread_out
from chorale.search.champion.library.playlist import PER_ARTIST, playlist
from chorale.search.champion.library.quotas import genre_entropy, points_apart, quotas
from chorale.search.champion.library.taste import Taste

MakeLibrary = Callable[..., Library]
MakeTaste = Callable[..., Taste]
VARIETIES = [step / 10 for step in range(11)]


@pytest.mark.parametrize("seed", range(12))
def test_without_variety_genre_shares_follow_the_history(
    make_library: MakeLibrary, make_taste: MakeTaste, seed: int
) -> None:
    library = make_library(900, seed=seed)
    made = playlist(library, make_taste(library, seed=seed), length=20, variety=0)
    assert len(made.tracks) == 20
    assert points_apart(made.wanted, made.given) < 5
    counted = [sum(t.genre == label for t in made.tracks) for label in library.manifest.labels]
    assert counted == (20 * made.given).round().tolist()


@pytest.mark.parametrize("n", [60, 900])
@pytest.mark.parametrize("seed", range(6))
def test_diversity_rises_with_variety(
    make_library: MakeLibrary, make_taste: MakeTaste, seed: int, n: int
) -> None:
    library = make_library(n, seed=seed)
    taste = make_taste(library, seed=seed)
    lists = [playlist(library, taste, length=20, variety=v) for v in VARIETIES]
    distances = [one.distance for one in lists]
    evenness = [genre_entropy(one.given) for one in lists]
    assert all(b >= a for a, b in pairwise(distances))
    if n == 900:  # else there is little to exchange
        assert len(set(distances)) >= 9  # one exchange may be worth more than a tenth of the way
        assert distances[-1] > 1.1 * distances[0]
    assert all(b >= a - 1e-12 for a, b in pairwise(evenness))
    assert distances[-1] > distances[0]
    assert lists[0].similarity.mean() > lists[-1].similarity.mean()


@pytest.mark.parametrize("variety", [0, 0.5, 1])
@pytest.mark.parametrize("seed", range(4))
def test_no_duplicates_no_played_tracks_and_artists_are_spread(
    make_library: MakeLibrary, make_taste: MakeTaste, seed: int, variety: float
) -> None:
    library = make_library(900, seed=seed)
    taste = make_taste(library, seed=seed)
    made = playlist(library, taste, length=40, variety=variety)
    contents = [track.content for track in made.tracks]
    artists = [track.artist for track in made.tracks]
    assert len(set(contents)) == 40
    assert not taste.contents & set(contents)
    assert max(artists.count(one) for one in artists) <= 40 / PER_ARTIST
    assert all(a != b for a, b in pairwise(artists))


def test_a_duplicate_song_is_recommended_once_and_not_if_it_was_played(
    make_library: MakeLibrary, make_taste: MakeTaste
) -> None:
    library = make_library(60)
    copies = tuple(replace(t, content=f"x{t.content}") for t in library.content.tracks)
    content = replace(
        library.content,
        tracks=library.content.tracks + copies,
        embeddings=np.tile(library.content.embeddings, (2, 1)),
        proba=np.tile(library.content.proba, (2, 1)),
    )
    doubled = Library(library.paths, library.manifest, content)
    taste = make_taste(library, seed=0)
    made = playlist(doubled, taste, length=100, variety=0.3)
    titles = [track.title for track in made.tracks]
    assert len(titles) == len(set(titles)) == 60 - len(taste.contents)
    assert not {f"t{one.removeprefix('c')}" for one in taste.contents} & set(titles)
    assert "100 tracks were requested" in made.notes[0]


def test_missing_tracks_of_a_genre_are_replaced_by_the_most_similar_with_a_note(
    make_library: MakeLibrary,
) -> None:
    library = make_library(300)
    few = np.flatnonzero(library.genres == 0)[5:]
    proba = library.content.proba.copy()
    near = np.flatnonzero(library.genres == 1)
    proba[near, 0] = 0.09  # the highest probability of genre 0 among the other genres
    rows = [row for row in range(300) if row not in set(few.tolist())]
    content = replace(library.content, proba=proba).rows(rows)
    library = Library(library.paths, library.manifest, content)
    taste = Taste(content.embeddings[:1], np.array([0]), np.ones(1), frozenset())
    made = playlist(library, taste, length=20, variety=0)
    assert [round(20 * share) for share in made.given[:3]] == [5, 15, 0]
    assert any(
        "lacks 15 tracks of genre0; the most similar tracks of genre1" in note
        for note in made.notes
    )


def test_too_few_artists_exceed_the_cap_with_a_note(
    make_library: MakeLibrary, make_taste: MakeTaste
) -> None:
    library = make_library(60, n_genres=3, tracks_an_artist=20)
    made = playlist(library, make_taste(library, seed=1), length=20, variety=0)
    assert points_apart(made.wanted, made.given) < 5
    assert any("instead of at most 2" in note for note in made.notes)


def test_equal_arguments_give_the_same_list_and_a_seed_another(
    make_library: MakeLibrary, make_taste: MakeTaste
) -> None:
    library = make_library(900)
    taste = make_taste(library, seed=0)
    plain, again, seeded, same = (
        playlist(library, taste, length=20, variety=0.2, seed=seed).tracks
        for seed in (None, None, 1, 1)
    )
    assert plain == again
    assert seeded == same
    assert set(seeded) != set(plain)


def test_without_variety_the_tracks_of_the_highest_cosine_are_chosen(
    make_library: MakeLibrary,
) -> None:
    library = make_library(900, n_genres=2, tracks_an_artist=1)
    rows = np.flatnonzero(library.genres == 0)[:1]
    content = library.content
    taste = Taste(content.embeddings[rows], np.array([0]), np.ones(1), frozenset({f"c{rows[0]}"}))
    made = playlist(library, taste, length=10, variety=0)
    cosines = content.embeddings @ content.embeddings[rows[0]]
    cosines[library.genres != 0] = -1
    cosines[rows] = -1
    assert {t.content for t in made.tracks} == {f"c{row}" for row in np.argsort(-cosines)[:10]}
    assert made.similarity == pytest.approx(np.sort(cosines)[::-1][:10], abs=1e-5)


@pytest.mark.parametrize(
    ("shares", "n", "expected"),
    [
        ([0.5, 0.3, 0.2], 10, [5, 3, 2]),
        ([1 / 3, 1 / 3, 1 / 3], 20, [7, 7, 6]),
        ([0.47, 0.16, 0.158, 0.12, 0.061, 0.031], 10, [5, 2, 1, 1, 1, 0]),
        ([1.0, 0.0], 3, [3, 0]),
    ],
)
def test_quotas_follow_the_largest_remainder_method(
    shares: list[float], n: int, expected: list[int]
) -> None:
    assert quotas(np.array(shares), n).tolist() == expected


@pytest.mark.parametrize(
    ("artists", "n_in_a_row"), [("aaab", 1), ("aabb", 0), ("aaabbc", 0), ("a", 0), ("aaa", 2)]
)
def test_no_artist_comes_twice_in_a_row_where_that_is_possible(
    artists: str, n_in_a_row: int
) -> None:
    order = spread_out(artists)
    assert sorted(order) == list(range(len(artists)))
    assert sum(artists[a] == artists[b] for a, b in pairwise(order)) == n_in_a_row


def test_weights_are_shares_of_plays(make_library: MakeLibrary) -> None:
    embeddings: Any = np.eye(3, dtype=np.float32)
    taste = Taste(embeddings, np.array([0, 1, 1]), np.array([2.0, 1.0, 1.0]), frozenset())
    assert taste.shares(3).tolist() == [0.5, 0.5, 0]
    profiles = taste.profiles(3)
    assert profiles[1] == pytest.approx([0, 0.5**0.5, 0.5**0.5])
    assert profiles[2] == pytest.approx(np.array([2, 1, 1]) / 6**0.5)
