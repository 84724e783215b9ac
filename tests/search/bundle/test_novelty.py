"""Recordings unlike the training set are flagged by encoders; of those like it about 1 %."""

from pathlib import Path

import numpy as np
import pytest

from chorale.search.bundle.novelty import MAX_REFERENCES, Novelty

WIDTH, N_FOLDS = 48, 5


def _tracks(
    rng: np.random.Generator, n_groups: int, per_group: int, means: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Embeddings of tracks by each encoder, with an effect of the group; and the groups."""
    groups = np.repeat(np.arange(n_groups), per_group)
    found = {}
    for name, of_class in means.items():
        effect = 0.5 * rng.standard_normal((n_groups, WIDTH))[groups]
        values = 1.0 + of_class[np.arange(n_groups) % len(of_class)][groups] + effect
        values += 0.7 * rng.standard_normal((len(groups), WIDTH))
        found[name] = values.astype(np.float32)
    return found, groups


def _shares(n_groups: int, n_encoders: int, n_studies: int, first: int) -> tuple[float, float]:
    """The share of new tracks flagged, of the study's classes and of others, simulated.

    Only the first encoder tells the other classes from those of the study.
    """
    flagged, unlike = [], []
    for seed in range(first, first + n_studies):
        rng = np.random.default_rng(seed)
        means = {str(i): rng.standard_normal((6, WIDTH)) for i in range(n_encoders)}
        others = {**means, "0": rng.standard_normal((2, WIDTH))}
        development, groups = _tracks(rng, n_groups, 6, means)
        test, _ = _tracks(rng, n_groups // 4, 6, means)
        novelty = Novelty.fit(development, groups % N_FOLDS, test)
        flagged.append(novelty.is_unlike(_tracks(rng, 60, 6, means)[0]).mean())
        unlike.append(novelty.is_unlike(_tracks(rng, 60, 6, others)[0]).mean())
    return float(np.mean(flagged)), float(np.mean(unlike))


@pytest.mark.parametrize(("n_groups", "n_encoders"), [(20, 1), (60, 1), (60, 3), (150, 2)])
def test_of_new_tracks_about_one_in_a_hundred_is_flagged(n_groups: int, n_encoders: int) -> None:
    flagged, unlike = _shares(n_groups, n_encoders, n_studies=40, first=0)
    assert 0.001 < flagged < 0.02
    assert unlike > 0.5, "of classes that the study does not know"


def test_a_file_gives_the_same_answers_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tracks, groups = _tracks(rng, 20, 5, {n: rng.standard_normal((4, WIDTH)) for n in ("a", "b")})
    half = {name: one[80:] for name, one in tracks.items()}
    novelty = Novelty.fit({n: one[:80] for n, one in tracks.items()}, groups[:80] % N_FOLDS, half)
    novelty.write(tmp_path / "novelty.safetensors")
    read = Novelty.read(tmp_path / "novelty.safetensors")
    np.testing.assert_array_equal(read.margins(tracks), novelty.margins(tracks))
    (tmp_path / "novelty.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cannot be read"):
        Novelty.read(tmp_path / "novelty.safetensors")


def test_of_many_tracks_some_are_kept() -> None:
    rng = np.random.default_rng(0)
    many = {"a": rng.standard_normal((MAX_REFERENCES + 500, 8)).astype(np.float32)}
    novelty = Novelty.fit(many, np.arange(len(many["a"])) % N_FOLDS, {"a": many["a"][:50]})
    assert novelty.by_encoder["a"].vectors.shape == (MAX_REFERENCES, 8)


def test_where_no_fold_has_others_nothing_is_unlike() -> None:
    rng = np.random.default_rng(0)
    few = {"a": rng.standard_normal((6, 8)).astype(np.float32)}
    novelty = Novelty.fit(few, np.zeros(6, np.int64), {"a": few["a"][:1]})
    assert not novelty.is_unlike({"a": -few["a"]}).any()
