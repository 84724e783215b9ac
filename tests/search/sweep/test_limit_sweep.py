"""A sweep with a hard limit: no trial, no ensemble and no champion exceeds it."""

import json
from pathlib import Path

import pytest

from chorale.search.cli import main
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.stages import SEARCH
from chorale.search.paths import folder_bytes
from chorale.search.study import study

NONE = ["--cluster.address", "none"]
LIMIT_MB = 0.1


def _sweep(root: Path, corpus: Path) -> str:
    """The networks are 32 wide (0.03 MB for two folds) or 256 (0.7 MB)."""
    file = root / "s.yaml"
    file.write_text(
        f"""
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features: {{stats57: {{sample_rate: 8000}}}}
architectures: [mlp]
space:
  mlp: {{n_layers: 2, width: {{choice: [32, 256]}}, shrink: 1.0, batch_norm: false,
        activation: relu, clip: false, dropout: 0.1}}
  train: {{optimizer: adamw, lr: 0.002}}
train: {{batch_size: 16}}
search: {{sampler: qmc, pruner: none}}
budget: {{trials: 6, max_epochs: 2}}
finalists: {{configs: 4, folds: 2}}
ensemble: {{kinds: [soft_vote]}}
limit: {{size_mb: {LIMIT_MB}, latency_ms: 1000}}
runs: {root / "runs"}
"""
    )
    return str(file)


def test_a_limit_holds_from_the_search_to_the_champion(
    tmp_path: Path, corpus: Path, two_baselines: None, capsys: pytest.CaptureFixture[str]
) -> None:
    file, runs = _sweep(tmp_path, corpus), tmp_path / "runs"
    assert main(["sweep", file, *NONE]) == 0
    assert "the model keeps to the limit: latency_ms" in capsys.readouterr().out
    with Ledger(f"sqlite:///{runs / 'chorale.db'}") as ledger:
        rows = ledger.rows("s", SEARCH).values()
    assert sum(row.state == "COMPLETE" for row in rows) == 6  # refused ones do not count
    states = {row.facts["config"]["width"]: set[str]() for row in rows}
    for row in rows:
        states[row.facts["config"]["width"]].add(row.state)
    assert states == {32: {"COMPLETE"}, 256: {"FAIL"}}
    report = json.loads((runs / "s" / "report.json").read_text())
    assert 0 < report["model_cost"]["size_mb"] <= LIMIT_MB
    assert 0 < report["model_cost"]["latency_ms"] <= 1000
    assert not any(isinstance(name, str) for name in report["ensemble"]["members"])
    assert main(["export", "s", "--runs", str(runs), "--to", str(tmp_path / "bundle")]) == 0
    assert folder_bytes(tmp_path / "bundle") / 1e6 <= LIMIT_MB
    assert main(["champion", "promote", "s", "--runs", str(runs)]) == 0

    # the bundle is measured again: a stricter limit than the search's refuses it
    kept = runs / "s" / "sweep.yaml"
    kept.write_text(kept.read_text().replace(f"size_mb: {LIMIT_MB}", "size_mb: 0.001"))
    capsys.readouterr()
    assert main(["champion", "promote", "s", "--as", "other", "--runs", str(runs)]) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "exceeds the limit of its sweep: it has 0." in error
    assert "limit.size_mb is 0.001; distil it with chorale compress s" in error


def test_a_limit_that_nothing_keeps_to_ends_with_what_to_do(
    tmp_path: Path,
    corpus: Path,
    two_baselines: None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(study, "MAX_REFUSED_IN_A_ROW", 4)
    assert main(["sweep", _sweep(tmp_path, corpus), "--limit.size_mb", "0.001", *NONE]) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "none of 4 trials keeps to the limit; the last one: over the limit: 2 networks" in error
    assert "raise limit, or narrow the space" in error
