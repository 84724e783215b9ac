"""A small folder of audio that a network can learn within seconds, and databases for ledgers."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

SAMPLE_RATE = 8000


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labels x 5 groups x 4 tracks of 0.6 s: tones whose height is the label's.

    A group's loudness and hiss are its own, so groups matter.
    """
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    time_s = np.arange(int(0.6 * SAMPLE_RATE)) / SAMPLE_RATE
    for pitch, label in enumerate(("low", "mid", "high")):
        (root / label).mkdir()
        for group in range(5):
            hiss = rng.uniform(0.02, 0.1)
            for take in range(4):
                tone_hz = 300 * 2**pitch * rng.uniform(0.9, 1.1)
                wave = 0.3 * np.sin(2 * np.pi * tone_hz * time_s)
                wave += hiss * rng.standard_normal(len(time_s))
                name = f"{label}-artist{group}-{take}.wav"
                soundfile.write(root / label / name, wave.astype(np.float32), SAMPLE_RATE)
    return root


@pytest.fixture
def tiny(corpus: Path, tmp_path: Path) -> list[str]:
    """The words of a sweep over `corpus` that takes seconds, without its `--cluster.address`."""
    sweep = tmp_path / "tiny.yaml"
    sweep.write_text(
        f"""
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features:
  mel: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24}}
  mfcc: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24, n_mfcc: 12}}
architectures: [cnn, recurrent]
space:
  cnn: {{n_layers: 2, width: {{choice: [16]}}, pooling: mean_max, dropout: 0.1}}
  train: {{optimizer: adamw, lr: 0.003, n_masks: 0, mixup_alpha: 0.0, center: false}}
train: {{crop_s: 0.4, batch_size: 16}}
budget: {{trials: 4, max_epochs: 4}}
finalists: {{configs: 2, folds: 2}}
runs: {tmp_path / "runs"}
"""
    )
    return [str(sweep)]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The folder with the socket of a PostgreSQL server of the tests' own; skips without one."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (pip install '.[postgres]')")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")) + [
        Path(path) for path in [shutil.which("pg_ctl")] if path
    ]
    if not found:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    binaries = found[-1].resolve().parent
    # it refuses to run as root, and cannot enter the folders that pytest makes for root
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if user:
        shutil.chown(folder, user)

    def run(*words: str) -> None:
        done = subprocess.run(
            words, user=user, cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            log = folder / "log"
            raise RuntimeError(done.stderr + (log.read_text() if log.exists() else ""))

    data = str(folder / "data")
    run(str(binaries / "initdb"), "-D", data, "-U", "chorale", "-A", "trust", "-E", "UTF8", "-N")
    control = (str(binaries / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"))
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=50"
    run(*control, "-o", options, "start")
    try:
        yield str(folder)
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """An empty database on that server."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"host={postgres} user=chorale dbname=postgres", autocommit=True) as c:
        c.execute(f'create database "{name}"')
    return f"postgresql+psycopg://chorale@/{name}?host={postgres}"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind that a ledger can be in."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'runs' / 'chorale.db'}"
