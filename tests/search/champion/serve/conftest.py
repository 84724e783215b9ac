"""A small bundle, trained in seconds, its loaded predictor, and `chorale serve` as a process."""

import io
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from chorale.search.baselines import baseline_plan, classifiers
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.cli import main
from tests.search.champion.serve.browser import Browser


@pytest.fixture(scope="session")
def served_bundle(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A bundle of two small networks that classify tones of three pitches."""
    root = tmp_path_factory.mktemp("served")
    sweep = root / "s.yaml"
    sweep.write_text(
        f"""
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features:
  mel: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24}}
architectures: [cnn]
space:
  cnn: {{n_layers: 2, width: 16, pooling: mean_max, dropout: 0.1}}
  train: {{optimizer: adamw, lr: 0.003, center: false}}
train: {{crop_s: 0.4, batch_size: 16}}
budget: {{trials: 1, max_epochs: 2}}
finalists: {{configs: 1, folds: 2}}
ensemble: {{kinds: [soft_vote], baselines: none}}
runs: {root / "runs"}
"""
    )
    with pytest.MonkeyPatch.context() as patch:  # one baseline, as the bundle has none
        for module in (classifiers, baseline_plan):
            patch.setattr(module, "GRIDS", {"knn": {"statistics": ("mean_std",), "k": (3,)}})
        assert main(["sweep", str(sweep), "--cluster.address", "none"]) == 0
    assert main(["export", "s", "--runs", str(root / "runs"), "--to", str(root / "bundle")]) == 0
    return root / "bundle"


@pytest.fixture(scope="session")
def served(served_bundle: Path) -> Predictor:
    return Predictor(Bundle.open(served_bundle))


def tone(seconds: float = 0.6, *, rate: int = 8000, hz: float = 300, channels: int = 1) -> bytes:
    """A tone as the bytes of a WAV file."""
    wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)
    file = io.BytesIO()
    soundfile.write(file, np.stack([wave] * channels, axis=1), rate, format="WAV")
    return file.getvalue()


@pytest.fixture
def make_tone() -> object:
    return tone


Serving = Callable[..., AbstractContextManager[tuple[int, "subprocess.Popen[str]"]]]


@contextmanager
def _serving(
    bundle: Path, *words: str, end: signal.Signals
) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """The port and the process of `chorale serve`; at the signal it must end with one line."""
    command = [sys.executable, "-m", "chorale.search", "serve", str(bundle), "--port", "0", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
            assert found, process.communicate()
            below = psutil.Process(process.pid).children(recursive=True)
            yield int(found[1]), process
        finally:
            process.send_signal(end)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "the server has ended\n", "")
    assert below, "decoders are separate processes"
    assert not psutil.wait_procs(below, timeout=30)[1], "they end, too"


@pytest.fixture
def serving() -> Serving:
    return _serving


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser without a page; skips where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    made = Browser(found, tmp_path_factory.mktemp("profile"))
    yield made
    made.close()
