"""Tests of baselines fit all of them; other tests of `search` only two."""

import pytest

from chorale.search.baselines import classifiers


@pytest.fixture(autouse=True)
def _two_baselines() -> None:
    """Replaces the fixture of the folder above."""


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Perceptrons make a fifth of their steps: for tests that compare one with itself."""
    monkeypatch.setattr(classifiers, "N_MLP_STEPS", classifiers.N_MLP_STEPS // 5)
