from pathlib import Path

import numpy as np
import pytest

from chorale.datasets.errors import UserError
from chorale.search.ledger import predictions
from chorale.search.ledger.predictions import Part

IDS = ("a", "b", "c")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    proba = np.array([[0.2, 0.8], [0.5, 0.5], [1, 0]])
    part = Part(IDS, proba, embeddings=np.arange(6.0).reshape(3, 2))
    predictions.write(tmp_path / "p.safetensors", {"valid": part}, split="s")
    return tmp_path / "p.safetensors"


def test_what_was_written_is_read(path: Path) -> None:
    part = predictions.read(path, {"valid": IDS}, split="s")["valid"]
    assert part.track_ids == IDS
    assert part.proba.dtype == np.float32
    np.testing.assert_allclose(part.proba, [[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]], atol=1e-7)
    assert part.embeddings is not None
    np.testing.assert_array_equal(part.embeddings, [[0, 1], [2, 3], [4, 5]])


def test_bank_refuses_rows_of_another_split(path: Path) -> None:
    with pytest.raises(UserError, match="belongs to another split"):
        predictions.read(path, {"valid": IDS}, split="other")


@pytest.mark.parametrize("ids", [("a", "c", "b"), ("a", "b"), ("a", "b", "d")])
def test_bank_refuses_other_tracks_and_never_reorders(path: Path, ids: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="about other tracks"):
        predictions.read(path, {"valid": ids}, split="s")


def test_a_part_that_was_never_written_is_refused(path: Path) -> None:
    with pytest.raises(UserError, match="'test' is about other tracks"):
        predictions.read(path, {"test": IDS}, split="s")


def test_a_damaged_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match="is damaged"):
        predictions.read(path, {"valid": IDS}, split="s")


def test_a_missing_file_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing; bring it back from a copy"):
        predictions.read(tmp_path / "none.safetensors", {"valid": IDS}, split="s")


@pytest.mark.parametrize(
    "proba",
    [
        np.ones((2, 2)) / 2,
        np.ones((3, 2)),
        np.array([[np.nan, 0.5], [0.5, 0.5], [0.5, 0.5]]),
        np.ones(3),
    ],
    ids=["too few rows", "sums to two", "nan", "one axis"],
)
def test_what_is_no_probability_never_enters(tmp_path: Path, proba: np.ndarray) -> None:
    with pytest.raises(ValueError, match="'valid'"):
        predictions.write(tmp_path / "p.safetensors", {"valid": Part(IDS, proba)}, split="s")
    assert list(tmp_path.iterdir()) == []
