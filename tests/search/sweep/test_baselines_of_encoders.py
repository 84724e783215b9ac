"""A sweep with an encoder beside other features: its baselines, from the table to a bundle."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chorale.search.baselines.baseline_file import read_baseline
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.cli import main
from chorale.search.evaluation import candidates
from chorale.search.evaluation.chosen_predictions import read_chosen_predictions
from chorale.search.ledger.baseline_predictions import read_baseline_predictions
from chorale.search.ledger.ground_truth import read_ground_truth
from chorale.search.paths import Runs

ON_ENCODER = ("logistic_regression (encoder)", "svm (encoder)")


@pytest.fixture(scope="module")
def study(
    tmp_path_factory: pytest.TempPathFactory,
    corpus: Path,
    encoder_file: Path,
    two_baselines: None,
) -> Path:
    """The runs folder of a finished study called `s`, whose baselines are chosen to read mfcc."""
    root = tmp_path_factory.mktemp("encoder-sweep")
    (root / "s.yaml").write_text(
        f"""
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features:
  mfcc: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24, n_mfcc: 12}}
  encoder: {{path: {encoder_file}, sample_rate: 8000, chunk_s: 0.2}}
architectures: [encoder_probe]
train: {{crop_s: 0.4, batch_size: 16}}
budget: {{trials: 2, max_epochs: 3}}
finalists: {{configs: 1, folds: 2}}
ensemble: {{kinds: [soft_vote], kind: soft_vote}}
runs: {root / "runs"}
"""
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "MAX_BEHIND", 1.0)  # all members, however good they are
        assert main(["sweep", str(root / "s.yaml"), "--cluster.address", "none"]) == 0
    return root / "runs"


def report_of(study: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Runs(study).study("s").report_json.read_text())
    return found


def test_the_encoder_has_its_own_baselines_in_the_table(study: Path) -> None:
    report, paths = report_of(study), Runs(study).study("s")
    truth = read_ground_truth(paths)
    assert truth is not None
    assert report["baselines_made"]["features"] == "mfcc"
    assert report["baselines_made"]["other_features"] == ["encoder"]
    assert list(report["baselines"]) == ["logistic_regression", "svm", *ON_ENCODER]
    for name in ON_ENCODER:
        stored = read_baseline_predictions(paths.baseline(name), truth.split)
        labels = truth.labels(truth.split.test_ids)
        right = stored.test.argmax(axis=1) == labels
        assert report["baselines"][name]["test"]["accuracy"] == pytest.approx(right.mean())
        assert len(stored.test_by_fold) == truth.split.n_folds
        assert read_baseline(paths.fitted_baseline(name)).features == "encoder"
        assert name in paths.report_html.read_text()
    assert "those named with encoder use that one" in paths.report_html.read_text()


@pytest.mark.parametrize("kind", ["stacking", "best_baseline"])
def test_a_bundle_with_an_encoders_baselines_reproduces_the_predictions(
    study: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    runs = shutil.copytree(study, tmp_path / "runs")
    paths = Runs(runs).study("s")
    report = report_of(runs)
    if kind == "best_baseline":  # only those on the encoder are left
        report["baselines"] = {name: report["baselines"][name] for name in ON_ENCODER}
        paths.report_json.write_text(json.dumps(report))
    monkeypatch.setattr(candidates, "MAX_BEHIND", 1.0)
    words = ["--kinds", kind, "--kind", kind, "--baselines", "auto"]
    assert main(["ensemble", "s", *words, "--runs", str(runs)]) == 0
    to = tmp_path / "bundle"
    assert main(["export", "s", "--runs", str(runs), "--to", str(to)]) == 0
    truth = read_ground_truth(paths)
    assert truth is not None
    chosen = read_chosen_predictions(paths, truth)
    assert chosen is not None
    shutil.rmtree(runs)
    bundle = Bundle.open(to)
    names = set(bundle.manifest.members) & set(ON_ENCODER)
    assert len(names) == (1 if kind == "best_baseline" else 2)
    features = {bundle.manifest.members[b.member]: b.features for b in bundle.manifest.baselines}
    assert all(features[name] == "encoder" for name in names)
    predictor = Predictor(bundle)
    found = [predictor.predict_file(corpus / track).proba for track in truth.split.test_ids]
    assert np.abs(np.stack(found) - chosen.calibrated_test).max() < 1e-4
    capsys.readouterr()
    clip = str(corpus / truth.split.test_ids[0])
    assert main(["predict", clip, "--bundle", str(to), "--json"]) == 0
    proba = json.loads(capsys.readouterr().out)["proba"]
    expected = dict(zip(truth.class_names, map(float, chosen.calibrated_test[0]), strict=True))
    assert proba == pytest.approx(expected, abs=1e-4)
