"""A sweep with time left trains further seeds of its finalists; its bundle has them all."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from chorale.datasets.errors import UserError
from chorale.lightning_models.training import speed
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.compress.teacher import make_teacher
from chorale.search.champion.export.end_to_end import EndToEndNetwork
from chorale.search.champion.pack.pack import BundleContents
from chorale.search.cli import main
from chorale.search.combining import fusion_net
from chorale.search.evaluation import candidates
from chorale.search.evaluation.chosen_predictions import read_chosen_predictions
from chorale.search.ledger.ground_truth import read_ground_truth
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.stages import FINALISTS
from chorale.search.paths import Runs
from chorale.search.study.trial_outcome import OUT_OF_TIME
from chorale.search.sweep import finalists_stage

NONE = ["--cluster.address", "none"]
N_SEEDS = 3


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion_net, "N_TRAINING_STEPS", 10)
        patch.setattr(finalists_stage, "MOST_SEEDS", N_SEEDS)
        patch.setattr(candidates, "MAX_BEHIND", 1.0)  # both finalists, however good they are
        patch.setattr(speed, "fastest_precision", lambda kind: torch.float32)
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, corpus: Path, two_baselines: None) -> Path:
    """The runs folder of a study `s` of two trials, which has far more time than it needs."""
    root = tmp_path_factory.mktemp("seeds")
    sweep = root / "s.yaml"
    sweep.write_text(
        f"""
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features:
  mel: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24}}
architectures: [cnn]
space:
  cnn: {{n_layers: 2, width: {{choice: [16, 32]}}, pooling: mean_max, dropout: 0.1}}
  train: {{optimizer: adamw, lr: {{log_float: [0.001, 0.003]}}, center: false}}
train: {{crop_s: 0.4, batch_size: 16}}
search: {{pruner: none}}
budget: {{trials: 2, max_epochs: 2, minutes: 60}}
finalists: {{configs: 2, folds: 2}}
ensemble: {{kinds: [stacking, fusion], kind: stacking, baselines: none}}
runs: {root / "runs"}
"""
    )
    with pytest.MonkeyPatch.context() as patch:  # both trials are finalists, whatever their scores
        patch.setattr("chorale.search.study.finalist_choice.COMPETITIVE_SHARE", 0.0)
        assert main(["sweep", str(sweep), *NONE]) == 0
    return root / "runs"


def test_every_finalist_gets_the_most_seeds_where_there_is_time(study: Path) -> None:
    report = json.loads((study / "s" / "report.json").read_text())
    assert report["seeds"] == {"0": [0, 1, 2], "1": [0, 1, 2]}
    with Ledger(f"sqlite:///{study / 'chorale.db'}") as ledger:
        rows = ledger.rows("s", FINALISTS)
    assert set(rows) == {f"{n}/{f}/{s}" for n in (0, 1) for f in (0, 1) for s in range(N_SEEDS)}
    assert {row.state for row in rows.values()} == {"COMPLETE"}


def test_time_that_ends_within_a_further_seed_leaves_nothing_out(
    unequal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = shutil.copytree(unequal, tmp_path / "runs")
    assert main(["resume", "s", "--runs", str(runs), "--finish"]) == 0
    out = capsys.readouterr().out
    assert "trials 0, 1 on 2 folds; 3 seeds of trial 0, 2 of trial 1" in " ".join(out.split())
    assert "is left out" not in out


@pytest.fixture(scope="module")
def unequal(study: Path) -> Path:
    """A copy in which time ended within the last seed of trial 1, and the ensemble after that."""
    runs = shutil.copytree(study, study.parent / "unequal")
    with Ledger(f"sqlite:///{runs / 'chorale.db'}") as ledger:
        ledger.record("s", FINALISTS, Row("1/1/2", "PRUNED", OUT_OF_TIME))
    assert main(["ensemble", "s", "--runs", str(runs)]) == 0
    return runs


@pytest.mark.parametrize("kind", ["stacking", "fusion"])
def test_a_bundle_of_members_with_different_seeds_reproduces_the_study(
    unequal: Path, corpus: Path, tmp_path: Path, kind: str
) -> None:
    runs = shutil.copytree(unequal, tmp_path / "runs")
    assert main(["ensemble", "s", "--kind", kind, "--runs", str(runs)]) == 0
    assert main(["export", "s", "--runs", str(runs), "--to", str(tmp_path / "b")]) == 0
    paths = Runs(runs).study("s")
    truth = read_ground_truth(paths)
    assert truth is not None
    chosen = read_chosen_predictions(paths, truth)
    assert chosen is not None
    predictor = Predictor(Bundle.open(tmp_path / "b"))
    manifest = predictor.bundle.manifest
    n_of = {name: manifest.n_networks(at) for at, name in enumerate(manifest.members)}
    assert n_of == {"0": 2 * N_SEEDS, "1": 2 * (N_SEEDS - 1)}
    found = [predictor.predict_file(corpus / track) for track in truth.split.test_ids]
    assert np.abs(np.stack([p.proba for p in found]) - chosen.calibrated_test).max() < 1e-4
    assert np.linalg.norm(found[0].embedding) == pytest.approx(1, rel=1e-5)
    assert "and seed (3 seeds of trial 0, 2 of trial 1)" in (tmp_path / "b/README.md").read_text()
    if kind == "stacking":
        parts = predictor.parts
        network = EndToEndNetwork(manifest, parts.networks, parts.configs, parts.model).eval()
        wave, _ = soundfile.read(corpus / truth.split.test_ids[0], dtype="float32")
        with torch.no_grad():
            proba, each = network(torch.from_numpy(wave))
        assert np.abs(proba.numpy() - found[0].proba).max() < 1e-4
        assert each.shape == (2 * N_SEEDS, 2, 3)


def test_a_bundle_that_lacks_a_network_of_one_seed_is_refused(
    unequal: Path, tmp_path: Path
) -> None:
    assert main(["export", "s", "--runs", str(unequal), "--to", str(tmp_path / "b")]) == 0
    manifest = tmp_path / "b" / "bundle.json"
    content = json.loads(manifest.read_text())
    content["networks"].remove(max(content["networks"], key=lambda n: (n["member"], n["space"])))
    manifest.write_text(json.dumps(content))
    with pytest.raises(UserError, match="networks of its ensemble are missing"):
        Predictor(Bundle.open(tmp_path / "b"))


def test_a_resumed_sweep_completes_the_seed_that_time_ended(unequal: Path, tmp_path: Path) -> None:
    runs = shutil.copytree(unequal, tmp_path / "runs")
    assert main(["resume", "s", "--runs", str(runs)]) == 0
    report = json.loads((runs / "s" / "report.json").read_text())
    assert report["seeds"] == {"0": [0, 1, 2], "1": [0, 1, 2]}


def test_each_member_counts_once_in_the_teacher_whatever_its_seeds(unequal: Path) -> None:
    from rich.console import Console

    from chorale.search.config import schema
    from chorale.search.config.resolve import resolve
    from chorale.search.console.progress import Progress
    from chorale.search.data.prepare import prepare

    sweep = schema.load_sweep_config(str(unequal / "s" / "sweep.yaml"), {"runs": str(unequal)})
    prepared = prepare(resolve(sweep, where="test"), Progress(Console(quiet=True)), map)
    truth = read_ground_truth(sweep.paths)
    assert truth is not None
    report = json.loads(sweep.paths.report_json.read_text())
    contents = BundleContents(sweep, truth, report, None, (0, 1), ())  # type: ignore[arg-type]
    jobs = [contents.jobs(0), contents.jobs(1)]
    assert list(map(len, jobs)) == [2 * N_SEEDS, 2 * (N_SEEDS - 1)]

    def teacher(*of: int) -> np.ndarray:
        chosen = [jobs[i] for i in of]
        return np.stack(
            make_teacher(sweep.paths, prepared, chosen, on_progress=lambda line: None).of_fold
        )

    np.testing.assert_allclose(teacher(0, 1), (teacher(0) + teacher(1)) / 2, atol=1e-6)
