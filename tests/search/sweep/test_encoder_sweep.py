"""A sweep over two pretrained encoders: each runs once a track, and its bundle runs elsewhere."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chorale.datasets.pretrained import running
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.embedding import EMBEDDING_WIDTH
from chorale.search.bundle.predictor import Predictor
from chorale.search.bundle.single_network import (
    Calibration,
    SingleNetwork,
    write_single_network_bundle,
)
from chorale.search.cli import main
from chorale.search.evaluation import candidates
from chorale.search.evaluation.chosen_predictions import read_chosen_predictions
from chorale.search.ledger.ground_truth import read_ground_truth
from chorale.search.ledger.reader import LedgerReader
from chorale.search.ledger.stages import SEARCH
from chorale.search.paths import Runs, StudyPaths
from tests.search.encoders import add_encoder

UNCALIBRATED = Calibration(temperature=1.0, coverage=0.9, least_proba=0.0, most_entropy=None)

NAMES = ("encoder-high", "encoder-low", "joined-low+high")


@pytest.fixture(scope="module")
def study(
    corpus: Path, tmp_path_factory: pytest.TempPathFactory, two_baselines: None
) -> StudyPaths:
    """A study of the corpus whose features are two encoders that a user added."""
    root = tmp_path_factory.mktemp("encoders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHORALE_ENCODERS", str(root / "encoders"))
        patch.setattr(candidates, "MAX_BEHIND", 1.0)  # all finalists are members
        add_encoder(root / "encoders", "low", n_bins=24, seed=1)
        add_encoder(root / "encoders", "high", n_bins=16, seed=2)
        (root / "s.yaml").write_text(
            f"""
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features: {{encoder: [low, high]}}
space: {{train: {{optimizer: adamw, lr: 0.003}}}}
budget: {{trials: 6, max_epochs: 4}}
finalists: {{configs: 3, folds: 2}}
ensemble: {{kinds: [soft_vote], kind: soft_vote, baselines: none}}
runs: {root / "runs"}
"""
        )
        assert main(["sweep", str(root / "s.yaml"), "--cluster.address", "none"]) == 0
    return Runs(root / "runs").study("s")


@pytest.fixture
def encoders(study: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoders are known to this machine."""
    monkeypatch.setenv("CHORALE_ENCODERS", str(study.root.parent.parent / "encoders"))


def _runs(study: StudyPaths) -> Runs:
    return Runs(study.root.parent)


def _stores(study: StudyPaths) -> dict[str, FeatureStore]:
    found = [FeatureStore.open(at.parent) for at in _runs(study).cache.glob("*/manifest.json")]
    return {store.feature: store for store in found}


def test_the_joined_frames_are_those_of_both_encoders(study: StudyPaths) -> None:
    stores = _stores(study)
    assert set(stores) == set(NAMES)
    high, low, both = (stores[name] for name in NAMES)
    assert high.contents == low.contents == both.contents
    np.testing.assert_array_equal(both.frames, np.concatenate([low.frames, high.frames], axis=1))


def test_the_first_trials_try_each_encoder_and_both(study: StudyPaths) -> None:
    rows = LedgerReader(_runs(study).ledger_url).rows("s", SEARCH)
    assert {row.facts["features"] for row in rows.values()} == set(NAMES)


@pytest.mark.usefixtures("encoders")
def test_a_bundle_predicts_on_a_machine_that_does_not_know_the_encoders(
    study: StudyPaths, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "bundle"
    assert main(["export", "s", "--runs", str(_runs(study).root), "--to", str(to)]) == 0
    monkeypatch.setenv("CHORALE_ENCODERS", str(tmp_path / "none"))
    moved = Path(shutil.copytree(to, tmp_path / "moved"))
    shutil.rmtree(to)
    running._loaded.cache_clear()
    bundle = Bundle.open(moved)
    assert bundle.manifest.has_novelty
    predictor = Predictor(bundle)
    truth = read_ground_truth(study)
    assert truth is not None
    ids = truth.split.test_ids
    found = np.stack([predictor.predict_file(corpus / track).proba for track in ids])
    chosen = read_chosen_predictions(study, truth)
    assert chosen is not None
    np.testing.assert_allclose(found, chosen.calibrated_test, atol=1e-4)
    assert len(list((moved / "encoders").rglob("*.pt2"))) == 2
    card = (moved / "README.md").read_text(encoding="utf-8")
    assert "- Bands low, trained on not given. Weights (in this bundle): CC0." in card


@pytest.mark.usefixtures("encoders")
def test_the_card_of_a_single_network_states_the_licences(
    study: StudyPaths, tmp_path: Path
) -> None:
    weights = next(iter(sorted(study.root.glob("finalists/*/*/weights"))))
    network = SingleNetwork("student", weights, UNCALIBRATED, model_card="# A student\n")
    write_single_network_bundle(tmp_path / "one", network)
    card = (tmp_path / "one" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# A student\n\n## Pretrained encoders\n")
    assert "Weights (in this bundle): CC0." in card


@pytest.mark.usefixtures("encoders")
def test_recordings_unlike_all_training_tracks_are_flagged(
    study: StudyPaths, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "bundle"
    assert main(["export", "s", "--runs", str(_runs(study).root), "--to", str(to)]) == 0
    predictor = Predictor(Bundle.open(to))
    shrill = np.tile(np.array([1, -1], np.float32), 2_400)  # the highest frequency there is
    assert predictor.predict_waveform(shrill, 8_000).out_of_distribution
    known = [predictor.predict_file(path) for path in sorted(corpus.rglob("*.wav"))]
    assert np.mean([one.out_of_distribution for one in known]) < 0.1
    embeddings = np.stack([one.embedding for one in known])
    assert embeddings.shape[1] == 24 + 16, "of both encoders, and not of the networks"
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    monkeypatch.chdir(tmp_path)
    bundle = Bundle.open(Path("bundle"))  # by a relative path, and opened twice
    older = replace(bundle, manifest=replace(bundle.manifest, has_novelty=False))
    for one, width in ((bundle, 24 + 16), (bundle, 24 + 16), (older, EMBEDDING_WIDTH)):
        found = Predictor(one).predict_waveform(shrill, 8_000)
        assert found.embedding.shape == (width,), "an older bundle has its networks' embeddings"


@pytest.mark.usefixtures("encoders")
def test_each_encoder_runs_once_a_recording(
    study: StudyPaths, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "bundle"
    assert main(["export", "s", "--runs", str(_runs(study).root), "--to", str(to)]) == 0
    predictor = Predictor(Bundle.open(to))
    predictor.predict_file(next(corpus.rglob("*.wav")))  # loads and measures them
    run, windows = running.run_encoder, []

    def listening(source: running.EncoderSource, given: np.ndarray) -> np.ndarray:
        windows.extend([source.file.parent.name] * len(given))
        return run(source, given)

    monkeypatch.setattr("chorale.datasets.pretrained.track_frames.run_encoder", listening)
    predictor.predict_file(next(corpus.rglob("*.wav")))
    assert sorted(windows) == ["high"] * 2 + ["low"] * 2  # 0.6 s are two windows
