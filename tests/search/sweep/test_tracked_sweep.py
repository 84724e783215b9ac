"""A sweep with the key `track`: its runs are those of the ledger, and a mistake is found early."""

import subprocess
from pathlib import Path

import pytest

from chorale.search.cli import main
from chorale.search.ledger.reader import LedgerReader
from chorale.search.paths import Runs
from tests.search.tracking.conftest import fake
from tests.search.tracking.fake_mlflow import FakeMlflow

__all__ = ["fake"]

QUICK = [
    "--cluster.address", "none", "--architectures", "cnn", "--features", "{mel: {sample_rate: "
    "8000, n_fft: 256, hop_length: 128, n_mels: 24}}", "--budget.trials", "2",
    "--budget.max_epochs", "1", "--finalists.configs", "1", "--ensemble.kinds", "soft_vote",
]  # fmt: skip


def test_a_sweep_writes_each_run_of_the_ledger_and_its_report(
    tiny: list[str],
    fake: FakeMlflow,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0psecret")
    folder = tmp_path / "code"
    folder.mkdir()
    author = ("-c", "user.name=me", "-c", "user.email=me@localhost")
    for words in (("init", "-q"), (*author, "commit", "-q", "--allow-empty", "-m", "x")):
        subprocess.run(["git", *words], cwd=folder, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    )
    monkeypatch.chdir(folder)
    where = ["--track.uri", fake.address]
    assert main(["sweep", *tiny, *QUICK, *where]) == 0, capsys.readouterr()
    runs = fake.by_key()
    with LedgerReader(Runs(tmp_path / "runs").ledger_url) as ledger:
        rows = {
            f"{stage}/{key}"
            for stage in ("search", "finalists")
            for key in ledger.rows("tiny", stage)
        }
    assert runs.keys() == {"study", *rows}
    assert {run.status for run in runs.values()} == {"FINISHED"}
    assert runs["study"].tags["mlflow.source.git.commit"] == head.stdout.strip()
    assert "test/accuracy" in {name for name, *_ in runs["study"].metrics}
    assert [step for step, _ in fake.curve("search/0", "accuracy")] == [1]
    names = {name.partition("/artifacts/")[2] for name in fake.artifacts}
    assert {"report.html", "report.json", "leaderboard.csv", "sweep.yaml"} == names
    assert fake.headers[0]["Authorization"] == "Bearer t0psecret"
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert not [path for path in files if b"t0psecret" in path.read_bytes()]
    assert "t0psecret" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--track", "mlflow"], "no MLflow server is named; give track.uri"),
        (["--track", "mlfow"], "unknown tracker 'mlfow'; did you mean 'mlflow'?"),
    ],
)
def test_a_mistake_is_refused_before_any_track_is_read(
    words: list[str],
    expected: str,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["sweep", *tiny, *QUICK, *words]) == 1
    found = capsys.readouterr()
    assert expected in found.err
    assert len(found.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
