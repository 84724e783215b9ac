"""A nightly schedule over a small corpus with short nights, and records without a real run."""

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from chorale.search.nightly.config import Nightly, load_nightly
from chorale.search.nightly.records import Night, Records


@pytest.fixture
def music(corpus: Path, tmp_path: Path) -> Path:
    """A copy of the corpus, which a test may change."""
    return Path(shutil.copytree(corpus, tmp_path / "music"))


@pytest.fixture(scope="session")
def write_nightly() -> Callable[[Path, Path], Path]:
    """Writes a nightly file for some music into a folder, which will hold its runs, too."""

    def write(folder: Path, music: Path) -> Path:
        file = folder / "tiny.yaml"
        file.write_text(
            f"""
dataset: {{name: folder, root: {music}, group: '(artist.)'}}
features:
  mel: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24}}
architectures: [cnn]
audit: {{fingerprint: false}}
space:
  cnn: {{n_layers: 2, width: {{choice: [16]}}, pooling: mean_max, dropout: 0.1}}
  train: {{optimizer: adamw, lr: 0.003, n_masks: 0, mixup_alpha: 0.0, center: false}}
train: {{crop_s: 0.4, batch_size: 16}}
budget: {{trials: 3, max_epochs: 2}}
finalists: {{configs: 1, folds: 2}}
ensemble: {{kinds: [soft_vote]}}
cluster: {{address: none}}
runs: {folder / "runs"}
"""
        )
        return file

    return write


@pytest.fixture
def nightly_file(write_nightly: Callable[[Path, Path], Path], music: Path, tmp_path: Path) -> Path:
    """The path of a nightly file for `music`."""
    return write_nightly(tmp_path, music)


@pytest.fixture
def nightly(nightly_file: Path) -> Nightly:
    """That nightly file, parsed."""
    return load_nightly(str(nightly_file), {})


@pytest.fixture
def recorded(nightly: Nightly) -> Callable[..., Night]:
    """Writes and returns the record of a finished night."""

    def write(day: int, verdict: str, value: float = 0.8, **more: Any) -> Night:
        scores = {"accuracy": value, "ci95": [value - 0.1, value + 0.1], "n": 60}
        figures = {
            "candidate": scores,
            "champion": scores,
            "difference": 0.0,
            "lower": -0.05,
            "p_value": 0.5,
            "n_tracks_needed": None,
            "latency_ms": 3.0,
            "size_mb": 1.5,
            "kind": "soft_vote",
            "members": [3, 20004],
            "trials": {"complete": 5, "pruned": 2, "failed": 0},
            "cost": {"wall_s": 90.0},
            "validation": 0.9,
            "n_tracks": 60,
            "n_quarantined": 0,
            "changes": {"new": 3},
            "changes_said": "3 new",
            "sentinel": {"reason": "within chance", "then": 0.8, "now": 0.8, "moved": False},
            "taught_by": [],
            "locked_since": "2026-11-01",
            "looks": day,
            "max_looks": 13,
        }
        night = Night(
            date(2026, 11, day),
            "done",
            "UTC",
            study=f"tiny-2026-11-{day:02d}",
            began_utc="2026-11-01T01:00:00+00:00",
            ended_utc="2026-11-01T02:00:00+00:00",
            verdict=verdict,
            reason="because <it> is",
            figures={**figures, **more},
        )
        return Records(nightly.paths).write(night)

    return write
