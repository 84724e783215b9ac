"""A sweep that fine-tunes the last blocks of an encoder, up to the predictions of its bundle."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file, save_file

from chorale.cluster.base import Decision, Report, TrialSpec
from chorale.datasets.pretrained import running
from chorale.datasets.pretrained.installed import encoder_module
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.cli import main
from chorale.search.evaluation import candidates
from chorale.search.evaluation.chosen_predictions import read_chosen_predictions
from chorale.search.ledger.ground_truth import read_ground_truth
from chorale.search.ledger.reader import LedgerReader
from chorale.search.ledger.stages import SEARCH
from chorale.search.paths import Runs, StudyPaths
from chorale.search.sweep import forecast, speed_probe
from chorale.search.training.run_trial import run_trial
from chorale.search.training.trial_plan import TrialResult
from tests.search.encoders import ship_toy

BLOCKS = ("block_input-toyblocks.1", "block_input-toyblocks.2")
SWEEP = """
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features: {{encoder: {{name: toyblocks, fine_tune: [1, 2]}}}}
architectures: [encoder_blocks]
space: {{train: {{optimizer: adamw, lr: 0.003, ema_decay: 0.9}}}}
train: {{crop_s: 0.3}}
budget: {{trials: 4, max_epochs: 3}}
finalists: {{configs: 2, folds: 2}}
ensemble: {{kinds: [soft_vote], kind: soft_vote, baselines: none}}
runs: {runs}
cluster: {{address: none}}
"""


@pytest.fixture(scope="module")
def study(
    corpus: Path, tmp_path_factory: pytest.TempPathFactory, two_baselines: None
) -> StudyPaths:
    root = tmp_path_factory.mktemp("fine-tuning")
    with pytest.MonkeyPatch.context() as patch:
        ship_toy(patch, root / "encoders")
        patch.setattr(candidates, "MAX_BEHIND", 1.0)  # all finalists are members
        (root / "s.yaml").write_text(SWEEP.format(corpus=corpus, runs=root / "runs"))
        assert main(["sweep", str(root / "s.yaml")]) == 0
    return Runs(root / "runs").study("s")


@pytest.fixture
def root(study: StudyPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the study and its encoder's file, which is known to this machine."""
    ship_toy(monkeypatch, tmp_path / "encoders")
    shutil.copytree(study.root.parent, tmp_path / "runs")
    running._loaded.cache_clear()
    return tmp_path


def _stores(study: StudyPaths) -> dict[str, FeatureStore]:
    cache = Runs(study.root.parent).cache
    found = [FeatureStore.open(at.parent) for at in cache.glob("*/manifest.json")]
    return {store.feature: store for store in found}


def test_the_frozen_part_ran_once_and_its_frames_are_kept(study: StudyPaths) -> None:
    stores = _stores(study)
    assert stores.keys() == {"encoder-toyblocks", *BLOCKS}
    widths = {name: (store.n_bins, set(store.lengths)) for name, store in stores.items()}
    assert widths == {  # 0.6 s: two windows of 30 frames
        "encoder-toyblocks": (8, {2}),
        "block_input-toyblocks.1": (10, {60}),
        "block_input-toyblocks.2": (12, {60}),
    }
    manifest = stores[BLOCKS[0]].folder / "manifest.json"
    config = json.loads(manifest.read_text(encoding="utf-8"))["config"]
    assert len(config["digest"]) == 64
    assert config["fine_tune"] == 1


def test_trials_try_each_number_of_blocks_and_record_which_weights_they_started_from(
    study: StudyPaths,
) -> None:
    rows = LedgerReader(Runs(study.root.parent).ledger_url).rows("s", SEARCH)
    assert {row.facts["features"] for row in rows.values()} == set(BLOCKS)
    digest = running.file_digest(
        study.root.parents[1] / "encoders" / "toyblocks" / "toyblocks.safetensors"
    )
    for number, row in rows.items():
        described = yaml.safe_load(study.trial(int(number)).config_yaml.read_text(encoding="utf-8"))
        config: dict[str, Any] = described["config"]
        assert config["encoder"] == "toyblocks"
        assert config["fine_tune"] == int(row.facts["features"][-1])
        assert config["digest"] == described["features_config"]["digest"] == digest
        assert config["lr_decay"] == row.facts["config"]["lr_decay"]
        assert "center" not in row.facts["train"], "blocks expect frames as they are"


def test_baselines_are_on_the_frozen_embedding(study: StudyPaths) -> None:
    report = json.loads(study.report_json.read_text(encoding="utf-8"))
    assert report["baselines"]
    assert report["baselines_made"]["features"] == "encoder-toyblocks"
    assert not [name for name in report["baselines"] if "block_input" in name]


def test_every_fold_starts_from_the_published_weights(study: StudyPaths) -> None:
    published = load_file(
        study.root.parents[1] / "encoders" / "toyblocks" / "toyblocks.safetensors"
    )
    found = sorted(study.root.glob("finalists/*/*/weights/weights-*.safetensors"))
    assert len(found) == 4
    for file in found:
        trained = load_file(file)["network.blocks.blocks.0.weight"]
        start = published["1.weight" if len(trained) == 8 else "0.weight"]
        distance = (trained - start).norm() / start.norm()
        assert 0 < distance < 0.2, "it was trained for three epochs"


def test_a_bundle_predicts_on_a_machine_without_the_encoders_file(
    root: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = root / "bundle"
    assert main(["export", "s", "--runs", str(root / "runs"), "--to", str(to)]) == 0
    monkeypatch.setenv("CHORALE_ENCODERS", str(root / "none"))
    predictor = Predictor(Bundle.open(to))
    paths = Runs(root / "runs").study("s")
    truth = read_ground_truth(paths)
    assert truth is not None
    found = [predictor.predict_file(corpus / track).proba for track in truth.split.test_ids]
    chosen = read_chosen_predictions(paths, truth)
    assert chosen is not None
    np.testing.assert_allclose(np.stack(found), chosen.calibrated_test, atol=1e-4)
    card = (to / "README.md").read_text(encoding="utf-8")
    assert "Weights (in this bundle): Toy licence." in card
    assert "hold its last blocks, fine-tuned: the licence of the weights holds for these" in card


def test_a_licence_that_forbids_to_pass_weights_on_also_holds_for_fine_tuned_ones(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = encoder_module("toyblocks")
    monkeypatch.setattr(module, "INFO", replace(module.INFO, may_bundle=False))
    to = str(root / "bundle")
    assert main(["export", "s", "--runs", str(root / "runs"), "--to", to]) != 0
    output = capsys.readouterr().err
    assert "fine-tuned from toyblocks would pass on weights derived from its own" in output
    assert "Toy licence" in output
    assert not (root / "bundle").exists()


def test_a_study_is_not_resumed_with_other_weights(
    root: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = root / "encoders" / "toyblocks" / "toyblocks.safetensors"
    (root / "s.yaml").write_text(SWEEP.format(corpus=corpus, runs=root / "runs"))
    arguments = ["sweep", str(root / "s.yaml"), "--resume", "--budget.trials", "5"]
    save_file({name: 2 * value for name, value in load_file(file).items()}, file)
    assert main(arguments) != 0
    assert "features" in capsys.readouterr().err


@pytest.mark.usefixtures("root")
def test_the_forecast_measures_each_number_of_blocks_and_counts_the_slowest(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured: dict[str, int] = {}
    measure_speeds = speed_probe.measure_speeds
    found: dict[str, speed_probe.Speed] = {}

    def recording(spec: TrialSpec, report: Report) -> TrialResult:
        features = spec.payload["plan"].features

        def slowly(step: int, metrics: Mapping[str, float]) -> Decision:
            if features == BLOCKS[0]:  # the one that is measured last, and is the quicker one
                time.sleep(1.0)
            return report(step, metrics)

        result = run_trial(spec, slowly)
        assert isinstance(result, TrialResult)
        measured[features] = result.n_parameters
        return result

    def keeping(*arguments: Any, **options: Any) -> dict[str, speed_probe.Speed]:
        found.update(measure_speeds(*arguments, **options))
        return found

    monkeypatch.setattr(speed_probe, "run_trial", recording)
    monkeypatch.setattr(forecast, "measure_speeds", keeping)
    (tmp_path / "t.yaml").write_text(SWEEP.format(corpus=corpus, runs=tmp_path / "other"))
    assert main(["sweep", str(tmp_path / "t.yaml"), "--plan"]) == 0
    assert "a trial takes encoder_blocks" in capsys.readouterr().out
    assert measured.keys() == set(BLOCKS)
    assert found["encoder_blocks"].n_parameters == measured[BLOCKS[0]] != measured[BLOCKS[1]]
