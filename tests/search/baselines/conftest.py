"""Tests of baselines fit all of them; other tests of `search` only two."""

import pytest


@pytest.fixture(autouse=True)
def _two_baselines() -> None:
    """Replaces the fixture of the folder above."""
