from pathlib import Path

import numpy as np
import pytest

from datasets.cache import FeatureStore
from datasets.errors import UserError
from search import protocols
from search.commands import data_leak
from search.protocols import claims

N_BINS = 36


def store_of(tracks: list[np.ndarray]) -> FeatureStore:
    return FeatureStore(
        folder=Path("nowhere"),
        feature="made up",
        recipe_key="",
        frame_rate_hz=10.0,
        n_bins=tracks[0].shape[1],
        frames=np.concatenate(tracks).astype(np.float32),
        offsets=np.concatenate([[0], np.cumsum([len(track) for track in tracks])]),
    )


def corpus(
    *, group_sound: float, track_sound: float, label_sound: float = 1.0, n_frames: int = 90
) -> tuple[FeatureStore, np.ndarray, np.ndarray]:
    """Three labels x 6 groups x 4 tracks; how much each says of its sound is given."""
    rng = np.random.default_rng(0)
    of_label = label_sound * rng.standard_normal((3, N_BINS))
    tracks, labels, groups = [], [], []
    for label in range(3):
        for group in range(6):
            of_group = group_sound * rng.standard_normal(N_BINS)
            for _ in range(4):
                of_track = track_sound * rng.standard_normal(N_BINS)
                noise = rng.standard_normal((n_frames, N_BINS))
                tracks.append(of_label[label] + of_group + of_track + noise)
                labels.append(label)
                groups.append(f"{label}-{group}")
    return store_of(tracks), np.array(labels), np.array(groups)


def accuracies(found: protocols.Claims) -> dict[str, float]:
    return {claim.protocol: claim.accuracy for claim in found.claims}


def test_artists_that_sound_alike_flatter_every_protocol_but_the_disjoint_one() -> None:
    store, labels, groups = corpus(group_sound=2.0, track_sound=0.1, label_sound=0.1)
    got = accuracies(claims(store, np.arange(72), labels=labels, groups=groups))
    assert list(got) == ["segments shuffled", "tracks shuffled", "groups disjoint"]
    assert got["tracks shuffled"] > 0.9
    assert got["groups disjoint"] < 0.6


def test_tracks_that_sound_alike_flatter_shuffled_segments_alone() -> None:
    store, labels, groups = corpus(group_sound=0.1, track_sound=3.0, label_sound=0.1)
    got = accuracies(claims(store, np.arange(72), labels=labels, groups=groups))
    assert got["segments shuffled"] > got["tracks shuffled"] + 0.15


def test_where_only_the_label_can_be_heard_all_protocols_agree() -> None:
    store, labels, groups = corpus(group_sound=0.0, track_sound=0.0)
    got = accuracies(claims(store, np.arange(72), labels=labels, groups=groups))
    assert min(got.values()) > 0.95


def test_segments_stay_within_their_tracks_and_only_asked_rows_are_used() -> None:
    store, labels, groups = corpus(group_sound=1.0, track_sound=1.0, n_frames=95)
    rows = np.arange(72)[::-1][:60]  # in another order than the store's
    found = claims(store, rows, labels=labels[rows], groups=groups[rows])
    assert found.n_tracks == 60
    assert found.segment_s == 3.0
    assert found.n_segments == 180  # 9.5 s give three segments of 3 s each
    direct = protocols._cut(store, rows, labels[rows], np.zeros(60, np.int64), seed=0)
    first = store.frames[store.offsets[rows[0]] :][:30].mean(axis=0)
    at = np.flatnonzero(direct.track == 0)[0]
    assert direct.x[at, :N_BINS] == pytest.approx(first, abs=1e-5)
    assert direct.label[at] == labels[rows[0]]


def test_ready_vectors_have_no_segments_to_shuffle() -> None:
    store, labels, groups = corpus(group_sound=2.0, track_sound=0.1, n_frames=1)
    got = accuracies(claims(store, np.arange(72), labels=labels, groups=groups))
    assert list(got) == ["tracks shuffled", "groups disjoint"]


def test_a_large_corpus_is_cut_down_by_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocols, "MAX_SEGMENTS", 150)
    store, labels, groups = corpus(group_sound=1.0, track_sound=1.0)
    found = claims(store, np.arange(72), labels=labels, groups=groups)
    assert found.n_tracks == 4 * found.n_groups
    assert 150 <= found.n_segments < 170


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (np.arange(72).astype(str), "each track is a group of its own"),
        (np.repeat(["a", "b", "c"], 24), "a class has only one group"),
    ],
)
def test_groups_that_cannot_be_told_apart_are_refused(groups: np.ndarray, said: str) -> None:
    store, labels, _ = corpus(group_sound=1.0, track_sound=1.0)
    with pytest.raises(UserError, match=said):
        claims(store, np.arange(72), labels=labels, groups=groups)


def test_the_command_shows_three_bars_and_a_sentence(
    tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert data_leak.run([*tiny, "--cluster.address", "none"]) == 0
    said = capsys.readouterr().out
    assert said.count("█ ") + said.count("█\n") == 3
    assert "With segments shuffled one would have claimed" in said
    assert "of 48 tracks in 4 groups" in said  # without the locked test set


@pytest.mark.parametrize("words", [[], ["--runs", "x"]])
def test_the_command_needs_a_sweep(words: list[str]) -> None:
    with pytest.raises(UserError, match=r"type: chorale data leak SWEEP\.yaml"):
        data_leak.run(words)


def test_help_shows_how_to_type_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert data_leak.run(["--help"]) == 0
    assert "usage: chorale data leak" in capsys.readouterr().out
