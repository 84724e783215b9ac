"""Near duplicates by embeddings: simulated corpora of known truth, and copies of made-up sounds."""

from itertools import combinations

import numpy as np
import pytest

from chorale.datasets.audit import near_duplicates
from chorale.datasets.audit.near_duplicates import (
    FALSE_DISCOVERY_RATE,
    find_near_duplicates,
    intrinsic_dimension,
    near_duplicates_by_encoder,
    similarity_text,
    track_vectors,
)

N, WIDTH, DIMENSION = 150, 96, 8


def corpus(rng: np.random.Generator, n: int = N) -> np.ndarray:
    """Embeddings of different recordings: classes of three densities in a curved subspace."""
    basis = rng.standard_normal((DIMENSION, WIDTH))
    classes = rng.integers(3, size=n)
    spread = np.array([0.3, 0.6, 1.2])[classes]
    latent = 2 * rng.standard_normal((3, DIMENSION))[classes]
    latent += spread[:, None] * rng.standard_normal((n, DIMENSION))
    return np.asarray(np.maximum(latent @ basis + 3, 0), np.float32)


def alone(n: int) -> np.ndarray:
    """Each track is a group of its own."""
    return np.arange(n).astype(str)


def copied(
    vectors: np.ndarray, rng: np.random.Generator, n: int, change: float
) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """The corpus with copies of `n` tracks, changed by a share of the distance to the nearest."""
    chosen = rng.choice(len(vectors), n, replace=False)
    distances = np.linalg.norm(vectors[chosen, None] - vectors[None], axis=2)
    distances[np.arange(n), chosen] = np.inf
    noise = rng.standard_normal((n, vectors.shape[1]))
    noise *= change * distances.min(axis=1, keepdims=True) / np.linalg.norm(noise, axis=1)[:, None]
    copies = (vectors[chosen] + noise).astype(np.float32)
    truth = {(int(row), len(vectors) + i) for i, row in enumerate(chosen)}
    return np.concatenate([vectors, copies]), truth


def pairs(vectors: np.ndarray, groups: np.ndarray | None = None) -> set[tuple[int, int]]:
    groups = alone(len(vectors)) if groups is None else groups
    return {pair[:2] for pair in find_near_duplicates(vectors, groups)}


@pytest.mark.parametrize("n", [near_duplicates.MIN_TRACKS, N])
def test_few_corpora_of_different_recordings_have_a_false_alarm(n: int) -> None:
    """At most the false discovery rate, and the limit of chance above it."""
    n_corpora = 100
    found = [len(pairs(corpus(np.random.default_rng(seed), n))) for seed in range(n_corpora)]
    rate = FALSE_DISCOVERY_RATE
    assert np.mean(np.array(found) > 0) <= rate + 3 * np.sqrt(rate * (1 - rate) / n_corpora)


def test_close_copies_are_found_at_the_rate_of_false_discoveries() -> None:
    n_right = n_false = n_planted = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        vectors, truth = copied(corpus(rng), rng, 6, change=0.15)
        found = pairs(vectors)
        n_right, n_false = n_right + len(found & truth), n_false + len(found - truth)
        n_planted += len(truth)
    assert n_right / n_planted > 0.9
    assert n_false / (n_right + n_false) < FALSE_DISCOVERY_RATE


def test_a_copy_as_far_as_the_nearest_other_recording_is_not_found() -> None:
    rng = np.random.default_rng(0)
    vectors, truth = copied(corpus(rng), rng, 6, change=1.0)
    assert not pairs(vectors) & truth


def test_several_copies_of_one_recording_are_found_with_each_other() -> None:
    rng = np.random.default_rng(1)
    vectors = corpus(rng)
    for _ in range(3):
        copy = vectors[:1] * (1 + 1e-4 * rng.standard_normal((1, WIDTH)))
        vectors = np.concatenate([vectors, copy.astype(np.float32)])
    assert pairs(vectors) == set(combinations((0, N, N + 1, N + 2), 2))


def test_pairs_of_one_group_are_left_out() -> None:
    rng = np.random.default_rng(2)
    vectors, truth = copied(corpus(rng), rng, 4, change=0.01)
    assert truth <= pairs(vectors)
    groups = alone(len(vectors))
    for original, copy in truth:
        groups[copy] = groups[original]
    assert not pairs(vectors, groups)


def test_the_dimension_is_that_of_the_embeddings_whatever_their_width() -> None:
    rng = np.random.default_rng(3)
    points = rng.uniform(size=(4_000, 5)) @ rng.standard_normal((5, 40))
    squares = (points**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * points @ points.T
    np.fill_diagonal(distances, np.inf)
    nearest = np.sqrt(np.sort(distances, axis=1)[:, :2])
    assert intrinsic_dimension(nearest) == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize("n", [0, 1, 5, 99])
def test_too_few_tracks_have_no_near_duplicates(n: int) -> None:
    assert find_near_duplicates(np.ones((n, 4), np.float32), alone(n)) == []


def test_equal_and_empty_vectors_and_a_single_group_are_no_error() -> None:
    zeros = np.zeros((N, 4), np.float32)
    assert find_near_duplicates(zeros, alone(N)) == [], "none of them stands out"
    assert find_near_duplicates(corpus(np.random.default_rng(0)), np.full(N, "one")) == []


def test_encoders_share_the_rate_and_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    vectors, truth = copied(corpus(rng), rng, 3, change=0.01)
    other = corpus(rng, len(vectors))
    found = near_duplicates_by_encoder({"a": vectors, "b": other}, alone(len(vectors)))
    assert set(found) == truth
    assert all(set(similarities) == {"a"} for similarities in found.values())
    assert similarity_text({"a": 0.98765, "b": 0.5}) == "cosine similarity 0.988 by a, 0.500 by b"
    monkeypatch.setattr(near_duplicates, "MAX_TRACKS", N)
    assert near_duplicates_by_encoder({"a": vectors}, alone(len(vectors))) == {}


def test_frames_of_silence_do_not_make_padded_tracks_near_duplicates() -> None:
    rng = np.random.default_rng(5)
    sounds = corpus(rng)
    silence = rng.permutation(sounds[0])[None]
    tracks = [sounds[i : i + 1] for i in range(N)]
    tracks[:8] = [np.concatenate([one, *[silence] * 29]) for one in tracks[:8]]
    offsets = np.cumsum([0, *map(len, tracks)])
    frames = np.concatenate(tracks)
    plain = np.stack([track.mean(axis=0) for track in tracks])
    assert {row for pair in pairs(plain[3:]) for row in pair} <= set(range(5))
    assert pairs(plain[3:]), "five tracks that are mostly silent look alike"
    np.testing.assert_allclose(track_vectors(frames, offsets), sounds, rtol=1e-6)
    assert not pairs(track_vectors(frames, offsets))


def test_frames_that_few_tracks_share_count_and_a_silent_track_has_a_vector() -> None:
    rng = np.random.default_rng(6)
    sounds = rng.standard_normal((20, WIDTH)).astype(np.float32)
    tracks = [sounds[i : i + 2] for i in range(12)] + [sounds[-1:]] * 7
    made = track_vectors(np.concatenate(tracks), np.cumsum([0, *map(len, tracks)]))
    np.testing.assert_allclose(made, [track.mean(axis=0) for track in tracks], rtol=1e-5)


# -- sounds -----------------------------------------------------------------------------------

RATE = 8_000


def sound(seed: int) -> np.ndarray:
    """3 s of notes with overtones and coloured hiss, other for each seed."""
    rng = np.random.default_rng(seed)
    t = np.arange(3 * RATE) / RATE
    base, slope = rng.uniform(80, 500), rng.uniform(0.3, 2.5)
    tone = sum(
        k**-slope * np.sin(2 * np.pi * k * base * t + rng.uniform(0, 6)) for k in range(1, 13)
    )
    spectrum = np.fft.rfft(rng.standard_normal(len(t)))
    bands = np.exp(rng.normal(0, 1.5, 12))[np.arange(len(spectrum)) * 12 // len(spectrum)]
    hiss = np.fft.irfft(spectrum * bands, len(t))
    made = tone / np.std(tone) + rng.uniform(0.1, 1) * hiss / np.std(hiss)
    return np.asarray(0.1 * made, np.float32)


def embedding(waveform: np.ndarray) -> np.ndarray:
    """An encoder: the mean log power of 24 bands, and a compressed copy of each."""
    n = len(waveform) // 400 * 400
    power = np.abs(np.fft.rfft(waveform[:n].reshape(-1, 400) * np.hanning(400), axis=1)) ** 2
    bands = np.add.reduceat(power[:, :192], np.arange(0, 192, 8), axis=1)
    shape = np.log(bands / bands.sum(axis=1, keepdims=True) + 1e-4)
    return np.asarray(np.concatenate([shape, np.tanh(shape + 4)], axis=1).mean(axis=0), np.float32)


def test_copies_of_sounds_with_another_level_noise_and_start_are_found() -> None:
    sounds = [sound(seed) for seed in range(120)]
    rng = np.random.default_rng(0)
    copies, truth = [], set()
    for i in range(6):
        quiet = 0.25 * sounds[i][rng.integers(RATE // 2) :]
        noise = rng.standard_normal(len(quiet)) * quiet.std() * 10 ** (-40 / 20)
        copies.append((quiet + noise).astype(np.float32))
        truth.add((i, len(sounds) + i))
    vectors = np.stack([embedding(one) for one in [*sounds, *copies]])
    found = pairs(vectors)
    assert len(found & truth) >= 5
    assert len(found - truth) <= 1
    assert pairs(vectors[: len(sounds)]) == set()
