"""The prediction bank: files of predictions by track."""

from pathlib import Path

import numpy as np
import pytest

from chorale.datasets.errors import UserError
from chorale.search.ledger.predictions import PredictionPart, read_predictions, write_predictions

IDS = ("a", "b", "c")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    proba = np.array([[0.2, 0.8], [0.5, 0.5], [1, 0]])
    part = PredictionPart(IDS, proba, embeddings=np.arange(6.0).reshape(3, 2))
    write_predictions(tmp_path / "p.safetensors", {"valid": part}, split="s")
    return tmp_path / "p.safetensors"


def test_predictions_survive_writing_and_reading(path: Path) -> None:
    part = read_predictions(path, {"valid": IDS}, split="s")["valid"]
    assert part.track_ids == IDS
    assert part.proba.dtype == np.float32
    np.testing.assert_allclose(part.proba, [[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]], atol=1e-7)
    assert part.embeddings is not None
    np.testing.assert_array_equal(part.embeddings, [[0, 1], [2, 3], [4, 5]])


def test_bank_refuses_rows_of_another_split(path: Path) -> None:
    with pytest.raises(UserError, match="belongs to another split"):
        read_predictions(path, {"valid": IDS}, split="other")


@pytest.mark.parametrize("ids", [("a", "c", "b"), ("a", "b"), ("a", "b", "d")])
def test_bank_refuses_other_tracks_and_never_reorders(path: Path, ids: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="of other tracks"):
        read_predictions(path, {"valid": ids}, split="s")


def test_a_missing_part_is_refused(path: Path) -> None:
    with pytest.raises(UserError, match="'test' is of other tracks"):
        read_predictions(path, {"test": IDS}, split="s")


def test_a_damaged_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match="is damaged"):
        read_predictions(path, {"valid": IDS}, split="s")


def test_the_error_for_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing; restore it from a backup"):
        read_predictions(tmp_path / "none.safetensors", {"valid": IDS}, split="s")


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
def test_bank_refuses_to_write_invalid_probabilities(tmp_path: Path, proba: np.ndarray) -> None:
    with pytest.raises(ValueError, match="'valid'"):
        write_predictions(
            tmp_path / "p.safetensors", {"valid": PredictionPart(IDS, proba)}, split="s"
        )
    assert list(tmp_path.iterdir()) == []
