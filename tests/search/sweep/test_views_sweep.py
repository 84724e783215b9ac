"""A sweep with augmented views of its training tracks, which nothing but training reads."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chorale.datasets.pretrained import running
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.cli import main
from chorale.search.data import feature_stores
from chorale.search.evaluation import candidates
from chorale.search.evaluation.chosen_predictions import read_chosen_predictions
from chorale.search.evaluation.encoder_vectors import read_encoder_vectors
from chorale.search.ledger.ground_truth import read_ground_truth
from chorale.search.ledger.reader import LedgerReader
from chorale.search.ledger.stages import FINALISTS, SEARCH
from chorale.search.paths import Runs, StudyPaths
from chorale.search.training import run_trial
from tests.search.encoders import add_encoder

SWEEP = """
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features: {{encoder: {{name: low, views: 3}}}}
architectures: [encoder_probe]
space: {{train: {{optimizer: adamw, lr: 0.003, views: true}}}}
budget: {{trials: 2, max_epochs: 3}}
finalists: {{configs: 1, folds: 2}}
ensemble: {{kinds: [soft_vote], kind: soft_vote, baselines: none}}
runs: {runs}
cluster: {{address: none}}
"""


@pytest.fixture(scope="module")
def made(
    corpus: Path, tmp_path_factory: pytest.TempPathFactory, two_baselines: None
) -> tuple[Path, StudyPaths]:
    """The sweep file of a study with three views, and the study."""
    root = tmp_path_factory.mktemp("views")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHORALE_ENCODERS", str(root / "encoders"))
        patch.setattr(candidates, "MAX_BEHIND", 1.0)
        add_encoder(root / "encoders", "low", n_bins=24, seed=1)
        (root / "s.yaml").write_text(SWEEP.format(corpus=corpus, runs=root / "runs"))
        opened: set[tuple[str, ...]] = set()
        fold = run_trial._opened

        def listening(stores: tuple[str, ...], *rest: Any) -> Any:
            opened.add(stores)
            return fold(stores, *rest)

        patch.setattr(run_trial, "_opened", listening)
        assert main(["sweep", str(root / "s.yaml")]) == 0
        (root / "opened.json").write_text(json.dumps(sorted(opened)))
    return root / "s.yaml", Runs(root / "runs").study("s")


@pytest.fixture
def study(made: tuple[Path, StudyPaths], monkeypatch: pytest.MonkeyPatch) -> StudyPaths:
    """The study, on a machine that knows its encoder."""
    file, paths = made
    monkeypatch.setenv("CHORALE_ENCODERS", str(file.parent / "encoders"))
    return paths


def _stores(study: StudyPaths) -> list[FeatureStore]:
    """The store of the recordings, and those of their views."""
    at = Runs(study.root.parent).cache.glob("*/manifest.json")
    return sorted((FeatureStore.open(one.parent) for one in at), key=lambda one: -len(one.offsets))


def test_views_are_of_development_tracks_only(study: StudyPaths) -> None:
    truth = read_ground_truth(study)
    assert truth is not None
    every, *views = _stores(study)
    assert set(every.track_ids) == {*truth.split.development_ids, *truth.split.test_ids}
    assert len(views) == 2
    for view in views:
        assert set(view.track_ids) == set(truth.split.development_ids)
    assert not np.allclose(views[0].frames[:9], views[1].frames[:9], rtol=1e-3)


def test_trials_are_trained_with_views_and_their_stores_are_not_pruned(study: StudyPaths) -> None:
    runs = Runs(study.root.parent)
    reader = LedgerReader(runs.ledger_url)
    rows = reader.rows("s", SEARCH)
    assert {row.facts["train"]["views"] for row in rows.values()} == {True}
    (opened,) = json.loads((study.root.parent.parent / "opened.json").read_text())
    manifests = [json.loads((Path(one) / "manifest.json").read_text()) for one in opened]
    assert [manifest.get("view") for manifest in manifests] == [None, 1, 2]
    assert {row.state for row in reader.rows("s", FINALISTS).values()} == {"COMPLETE"}
    assert not feature_stores.prune(runs, reader)
    recorded = study.stores_json.read_text()
    assert all(store.folder.name in recorded for store in _stores(study))


def test_novelty_and_predictions_are_of_the_recordings_themselves(
    study: StudyPaths, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = _stores(study)[0]
    vectors = read_encoder_vectors(study.encoder_vectors)
    assert vectors is not None
    spans = zip(every.offsets[:-1], every.offsets[1:], strict=True)
    means = np.stack([every.frames[start:stop].mean(axis=0) for start, stop in spans])
    np.testing.assert_allclose(vectors.by_encoder["encoder-low"], means, rtol=1e-5)
    to = tmp_path / "bundle"
    assert main(["export", "s", "--runs", str(study.root.parent), "--to", str(to)]) == 0
    monkeypatch.setattr("chorale.datasets.store.views.view_waveform", None)
    running._loaded.cache_clear()
    predictor = Predictor(Bundle.open(to))
    truth = read_ground_truth(study)
    assert truth is not None
    chosen = read_chosen_predictions(study, truth)
    assert chosen is not None
    ids = truth.split.test_ids
    found = np.stack([predictor.predict_file(corpus / track).proba for track in ids])
    np.testing.assert_allclose(found, chosen.calibrated_test, atol=1e-4)
    assert not [at for at in to.rglob("*.json") if '"features_config": {"views"' in at.read_text()]


def test_the_cost_is_stated_and_a_resumed_study_keeps_its_views(
    made: tuple[Path, StudyPaths], study: StudyPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    file, _ = made
    assert main(["sweep", str(file), "--resume"]) == 0
    truth = read_ground_truth(study)
    assert truth is not None
    n = len(truth.split.development_ids)
    printed = capsys.readouterr().out
    assert f"encoder-low: 2 more views of the {n} tracks that are trained on" in printed
    args = ["sweep", str(file), "--resume", "--features", "{encoder: {name: low, views: 2}}"]
    assert main(args) != 0
    assert "views" in capsys.readouterr().err
