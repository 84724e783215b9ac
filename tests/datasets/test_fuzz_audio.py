import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from chorale.datasets import audio

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fuzz_audio.py"


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_audio", SCRIPT)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fuzz_audio", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("n", [120, pytest.param(400, marks=pytest.mark.heavy)])
def test_mutated_files_cause_no_crash_hang_or_wrong_samples(n: int) -> None:
    """In a separate process, since decoders may write to the terminal or crash."""
    words = [sys.executable, str(SCRIPT), "--files", str(n), "--seed", "1", "--processes", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{n} files" in done.stdout
    assert "accepted\n" in done.stdout  # otherwise the mutations only tested the header


def test_mutations_depend_on_the_seed_only(fuzz: ModuleType) -> None:
    assert [fuzz.mutated(3, i) for i in range(6)] == [fuzz.mutated(3, i) for i in range(6)]
    assert fuzz.mutated(3, 0)[1] != fuzz.mutated(4, 0)[1]
    assert [fuzz.mutated(3, i)[0] for i in range(len(fuzz.KINDS))] == list(fuzz.KINDS)


def test_originals_without_a_count_are_decoded_whole(fuzz: ModuleType, tmp_path: Path) -> None:
    n_samples = {}
    for kind, (suffix, _) in fuzz.KINDS.items():
        path = tmp_path / f"t{suffix}"
        path.write_bytes(fuzz.original(kind, 4))
        n_samples[kind] = len(audio.load_audio(path)[0])
    n = n_samples["wav"]
    assert n_samples["wav without size"] == n_samples["flac without count"] == n
    assert n <= n_samples["mp3 without count"] <= n + 4 * 1152
    assert 2 * n <= n_samples["two mp3 in one"] <= 2 * n + 4 * 1152


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.array([0.0, np.nan], np.float32), 8_000, "NaN"),
        (np.zeros(10**6, np.float32), 8_000, "1000000 samples in"),
        (np.ones(10, np.float32), 3, "sample rate 3"),
    ],
)
def test_the_fuzzer_reports_files_that_are_wrongly_accepted(
    fuzz: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    samples: np.ndarray,
    rate: int,
    message: str,
) -> None:
    path = tmp_path / "t.wav"
    path.write_bytes(fuzz.original("wav", 0))
    assert fuzz.try_one(path) == ("accepted", "")
    monkeypatch.setattr(audio, "load_audio", lambda _: (samples, rate))
    assert message in fuzz.try_one(path)[1]
