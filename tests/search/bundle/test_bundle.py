"""A bundle reproduces its study's predictions without the study, or is refused as damaged."""

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from chorale.datasets.errors import UserError
from chorale.search.baselines import baseline_plan, classifiers
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.disagreement import disagreement, ood_threshold_of_means
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.pack.card import model_card
from chorale.search.champion.pack.pack import BundleContents, pack_bundle
from chorale.search.champion.registry.registry import Registry
from chorale.search.cli import main
from chorale.search.combining import fusion_net
from chorale.search.config import schema
from chorale.search.evaluation import candidates
from chorale.search.evaluation.chosen_predictions import read_chosen_predictions
from chorale.search.evaluation.members import (
    fit_ensemble,
    out_of_fold_predictions,
    predictions_by_networks,
    read_member,
)
from chorale.search.ledger.ground_truth import read_ground_truth
from chorale.search.ledger.stages import Job
from chorale.search.paths import Runs
from chorale.search.report.report import read_report
from chorale.search.statistics.calibration import calibrate
from tests.benchmarks.bench_decoders import ENCODINGS, chirp, encode


@pytest.fixture(scope="module", autouse=True)
def _quick_fits() -> Iterator[None]:
    """Fusion networks are trained for few steps, and baselines have few settings."""
    grids = {
        "logistic_regression": {"statistics": ("mean_std", "differences"), "C": (0.1,)},
        "svm": {"statistics": ("mean_std",), "gamma_times_columns": (0.3,), "C": (10.0,)},
        "knn": {"statistics": ("thirds",), "k": (3,)},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fusion_net, "N_TRAINING_STEPS", 10)
        for module in (classifiers, baseline_plan):
            patch.setattr(module, "GRIDS", grids)
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """The runs folder of a finished study called `s`."""
    root = tmp_path_factory.mktemp("bundle")
    sweep = root / "s.yaml"
    sweep.write_text(
        f"""
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features:
  mel: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24}}
  mfcc: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24, n_mfcc: 12}}
architectures: [cnn, recurrent]
space:
  cnn: {{n_layers: 2, width: 16, pooling: mean_max, dropout: 0.1}}
  train: {{optimizer: adamw, lr: 0.003, center: false}}
train: {{crop_s: 0.4, batch_size: 16}}
budget: {{trials: 4, max_epochs: 4}}
finalists: {{configs: 2, folds: 2}}
ensemble: {{kinds: [fusion], kind: fusion, baselines: none}}
runs: {root / "runs"}
"""
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "MAX_BEHIND", 1.0)  # both finalists, however good they are
        assert main(["sweep", str(sweep), "--cluster.address", "none"]) == 0
    return root / "runs"


@pytest.fixture(scope="module")
def bundle(study: Path) -> Path:
    to = study.parent / "bundle"
    assert main(["export", "s", "--runs", str(study), "--to", str(to)]) == 0
    return to


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> Predictor:
    return Predictor(Bundle.open(bundle))


def test_a_bundle_reproduces_the_studys_test_predictions(
    study: Path, corpus: Path, predictor: Predictor
) -> None:
    sweep = schema.load_sweep_config(str(study / "s" / "sweep.yaml"), {"runs": str(study)})
    truth = read_ground_truth(sweep.paths)
    assert truth is not None
    report = read_report(sweep.paths)
    members = [
        read_member(
            sweep.paths,
            truth.split,
            number,
            [Job(number, fold, 0) for fold in range(2)],
            architecture=kind,
        )
        for number, kind in zip(
            report["ensemble"]["members"], predictor.bundle.manifest.architectures, strict=True
        )
    ]
    test = fit_ensemble("fusion", members, truth, seed=0).test
    expected = calibrate(test, report["calibration"]["temperature"])
    found = np.stack([predictor.predict_file(corpus / f"{t}").proba for t in truth.split.test_ids])
    assert len(members) == 2
    assert np.abs(found - expected).max() < 1e-4


def test_the_disagreement_threshold_is_fitted_on_disagreements_as_predicted(
    study: Path, corpus: Path, predictor: Predictor
) -> None:
    paths = Runs(study).study("s")
    truth = read_ground_truth(paths)
    assert truth is not None
    predictions = [predictor.predict_file(corpus / track) for track in truth.split.test_ids]
    assert not any(one.out_of_distribution for one in predictions)
    jobs = [Job(0, fold, 0) for fold in range(2)]
    members = [
        read_member(paths, truth.split, number, [replace(job, number=number) for job in jobs])
        for number in map(int, predictor.bundle.manifest.members)
    ]
    each = [
        disagreement(predictions_by_networks(members, truth.split, [fold]).proba)
        for fold in range(2)
    ]
    found = [one.disagreement for one in predictions]
    np.testing.assert_allclose(np.mean(each, axis=0), found, rtol=1e-3, atol=1e-6)
    of_one = disagreement(out_of_fold_predictions(members, truth.split).proba)
    expected = ood_threshold_of_means(of_one, np.stack(each))
    assert predictor.bundle.manifest.most_disagreement == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("best_baseline", 1e-6), ("soft_vote", 1e-4), ("fusion", 1e-4)]
)
def test_a_bundle_with_baselines_reproduces_the_studys_predictions(
    study: Path,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    tolerance: float,
) -> None:
    runs = shutil.copytree(study, tmp_path / "runs")
    words = ["--kinds", kind, "--kind", kind, "--baselines", "auto"]
    assert main(["ensemble", "s", *words, "--runs", str(runs)]) == 0
    to = tmp_path / "bundle"
    capsys.readouterr()
    assert main(["export", "s", "--runs", str(runs), "--to", str(to)]) == 0
    paths = Runs(runs).study("s")
    truth = read_ground_truth(paths)
    assert truth is not None
    headline = read_chosen_predictions(paths, truth)
    assert headline is not None
    shutil.rmtree(runs)
    predictor = Predictor(Bundle.open(to))
    names = [one for one in predictor.bundle.manifest.members if not one.isdecimal()]
    assert names
    assert f"baseline{'s' * (len(names) > 1)} {', '.join(names)}" in capsys.readouterr().out
    assert all(name in (to / "README.md").read_text() for name in names)
    predictions = [predictor.predict_file(corpus / f"{track}") for track in truth.split.test_ids]
    found = np.stack([one.proba for one in predictions])
    assert np.abs(found - headline.calibrated_test).max() < tolerance
    lengths = [np.linalg.norm(one.embedding) for one in predictions]
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    (other, *_) = truth.split.development_ids
    alike = predictions[0].embedding @ predictor.predict_file(corpus / other).embedding
    assert alike < 0.9999, "different recordings have different embeddings"


WITHOUT_PYTORCH = """
import sys
sys.modules["torch"] = None
from chorale.search.cli import main
sys.exit(main(["predict", *sys.argv[1:]]))
"""


def test_a_bundle_of_baselines_predicts_without_pytorch(
    study: Path, corpus: Path, tmp_path: Path
) -> None:
    runs = shutil.copytree(study, tmp_path / "runs")
    words = ["--kinds", "best_baseline", "--kind", "best_baseline", "--baselines", "auto"]
    assert main(["ensemble", "s", *words, "--runs", str(runs)]) == 0
    assert main(["export", "s", "--runs", str(runs), "--to", str(tmp_path / "bundle")]) == 0
    clip = corpus / "low" / "low-artist0-0.wav"
    words = [str(clip), "--bundle", str(tmp_path / "bundle"), "--json"]
    done = subprocess.run([sys.executable, "-c", WITHOUT_PYTORCH, *words], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["label"] == "low"


def test_a_bundle_is_independent_of_its_study(study: Path, bundle: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(bundle, moved)
    opened = Bundle.open(moved)
    assert opened.digest == Bundle.open(bundle).digest
    assert not any(str(study) in f.read_text() for f in moved.rglob("*.json"))
    assert (moved / "README.md").read_text().startswith("# s\n")


def test_exporting_twice_gives_the_same_bundle(study: Path, bundle: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the second export replaces the first
        assert main(["export", "s", "--runs", str(study), "--to", str(tmp_path / "b")]) == 0
    assert Bundle.open(tmp_path / "b").digest == Bundle.open(bundle).digest
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_champion_is_exported_and_predicts_by_name(
    study: Path, bundle: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Runs(tmp_path / "runs")
    words = ["--runs", str(runs.root)]
    opened = Bundle.open(bundle)
    for name in ("best", "s"):
        Registry(runs.champion(name)).promote(opened, expected=None, reason="it is the first")
    assert main(["export", "best", "--to", str(tmp_path / "b"), *words]) == 0
    assert main(["export", "champions/s", "--to", str(tmp_path / "c"), *words]) == 0
    assert Bundle.open(tmp_path / "b").digest == opened.digest
    assert Bundle.open(tmp_path / "c").digest == opened.digest
    capsys.readouterr()
    clip = str(corpus / "low" / "low-artist0-0.wav")
    assert main(["predict", clip, "--champion", "best", "--json", *words]) == 0
    assert json.loads(capsys.readouterr().out)["label"] in opened.manifest.labels
    for typed in (["export", "best"], ["predict", clip, "--champion", "nobody"]):
        assert main([*typed, *words]) == 1
    err = capsys.readouterr().err.splitlines()
    assert "chorale export best --to FOLDER" in err[0]
    assert "there is no champion 'nobody'" in err[1]


def test_an_ensemble_that_has_no_onnx_export_gives_a_one_line_error(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed (pip install '.[onnx]')")
    words = ["export", "s", "--runs", str(study), "--to", str(tmp_path / "b")]
    assert main([*words, "--onnx", str(tmp_path / "s.onnx")]) == 1
    err = capsys.readouterr().err
    assert "ensemble 'fusion': it is implemented in numpy only" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "s.onnx").exists()


@pytest.mark.parametrize("which", ["ensemble.safetensors", "networks", "README.md"])
def test_a_flipped_bit_is_refused(bundle: Path, tmp_path: Path, which: str) -> None:
    broken = tmp_path / "b"
    shutil.copytree(bundle, broken)
    path = broken / which
    if path.is_dir():
        path = next(path.rglob("weights-*"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="is not the file that the manifest was written for"):
        Bundle.open(broken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version=2, but this Chorale reads 1"),
        ({"files": {"../../etc/passwd": "0"}}, "a file outside of it"),
        ({"files": {"gone.json": "0"}}, "'gone.json' is missing"),
        ({"labels": 3}, "labels"),
    ],
)
def test_an_invalid_manifest_is_refused(
    bundle: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    broken = tmp_path / "b"
    shutil.copytree(bundle, broken)
    manifest = json.loads((broken / "bundle.json").read_text()) | change
    (broken / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=message):
        Bundle.open(broken)


def test_export_does_not_overwrite_a_folder_that_is_not_a_bundle(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    assert main(["export", "s", "--runs", str(study), "--to", str(tmp_path)]) == 1
    assert "something else is there already" in capsys.readouterr().err
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_predict_reads_a_folder_and_reports_files_that_are_not_audio(
    bundle: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(corpus / "low" / "low-artist0-0.wav", tmp_path / "a.wav")
    (tmp_path / "b.wav").write_bytes(b"")
    assert main(["predict", str(tmp_path), "--bundle", str(bundle), "--json"]) == 1
    out, err = capsys.readouterr()
    good, bad = map(json.loads, out.splitlines())
    assert sum(good["proba"].values()) == pytest.approx(1, abs=1e-5)
    assert good["label"] == good["top"][0]["label"]
    assert good["label"] in good["set"]
    assert bad["error"] == "empty"
    assert "b.wav" in err
    assert "1 of 2 cannot be read" in err


def test_predict_reads_the_containers_in_a_folder(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("m4a", "webm"):
        encoding = ENCODINGS[name]
        source = chirp(1.0, encoding.sample_rate, encoding.n_channels)
        (tmp_path / f"t.{name}").write_bytes(encode(encoding, source))
    assert main(["predict", str(tmp_path), "--bundle", str(bundle), "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(one["file"]).name for one in answers] == ["t.m4a", "t.webm"]
    assert all(one["label"] for one in answers)


def test_a_timeline_covers_the_recording(
    bundle: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [corpus / "low" / "low-artist0-0.wav", corpus / "high" / "high-artist0-0.wav"]
    waves = [soundfile.read(part)[0] for part in parts for _ in range(3)]
    soundfile.write(tmp_path / "both.wav", np.concatenate(waves), 8000)
    words = ["predict", str(tmp_path / "both.wav"), "--bundle", str(bundle), "--csv"]
    assert main([*words, "--timeline", "--segment", "0.6"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    edges = [(float(row["start_s"]), float(row["end_s"])) for row in rows]
    assert edges[0][0] == 0
    assert edges[-1][1] == pytest.approx(3.6)
    assert [end for _, end in edges[:-1]] == [start for start, _ in edges[1:]]
    assert len(rows) == 6


def test_a_recording_without_its_length_or_in_opposite_phase_is_predicted_whole(
    predictor: Predictor, corpus: Path, tmp_path: Path
) -> None:
    path = corpus / "mid" / "mid-artist1-0.wav"
    expected = predictor.predict_file(path)
    wav = bytearray(path.read_bytes())
    wav[40:44] = bytes(4)  # the recorder lost power
    (tmp_path / "recorder.wav").write_bytes(wav)
    found = predictor.predict_file(tmp_path / "recorder.wav")
    np.testing.assert_array_equal(found.proba, expected.proba)
    wave, rate = soundfile.read(path, dtype="int16")
    soundfile.write(tmp_path / "inverted.wav", np.stack([wave, -wave], axis=1), rate)
    found = predictor.predict_file(tmp_path / "inverted.wav")
    np.testing.assert_array_equal(found.proba, expected.proba)


def test_a_stereo_file_at_another_rate_gives_the_same_class(
    predictor: Predictor, corpus: Path, tmp_path: Path
) -> None:
    wave, rate = soundfile.read(corpus / "mid" / "mid-artist1-0.wav")
    time_s = np.arange(len(wave)) / rate
    doubled = np.interp(np.arange(0, time_s[-1], 1 / 16000), time_s, wave)
    soundfile.write(tmp_path / "s.wav", np.stack([doubled, doubled], axis=1), 16000)
    mono = predictor.predict_file(corpus / "mid" / "mid-artist1-0.wav")
    stereo = predictor.predict_file(tmp_path / "s.wav")
    assert stereo.best == mono.best


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        ([], "expected a FILE", 2),
        (["x.wav"], "--bundle FOLDER, --study STUDY or --champion NAME", 2),
        (["x.wav", "--bundle", "nowhere"], "there is no bundle", 1),
        (
            ["x.wav", "--bundle", "b", "--top", "0"],
            "--top should be a whole number of 1 or more",
            2,
        ),
        (
            ["x.wav", "--bundle", "b", "--timeline", "--segment", "nan"],
            "--segment should be a number from 0.1 to 3600",
            2,
        ),
        (["x.wav", "--bundle", "b", "--json", "--csv"], "got both", 2),
    ],
)
def test_invalid_arguments_give_a_one_line_error(
    words: list[str], message: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *words]) == code
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1


def test_disagreement_is_from_0_to_the_logarithm_of_the_number_of_members() -> None:
    same = np.full((3, 1, 4), 0.25)
    apart = np.eye(3)[:, None, :]
    assert disagreement(same) == pytest.approx(0)
    assert disagreement(apart) == pytest.approx(np.log(3))


@pytest.mark.parametrize("kind", ["soft_vote", "best_single", "stacking"])
def test_a_bundle_of_one_network_flags_high_entropy_as_out_of_distribution(
    study: Path, tmp_path: Path, corpus: Path, kind: str
) -> None:
    sweep = schema.load_sweep_config(str(study / "s" / "sweep.yaml"), {"runs": str(study)})
    truth = read_ground_truth(sweep.paths)
    assert truth is not None
    report, number = read_report(sweep.paths), read_report(sweep.paths)["best_single"]["members"][0]
    member = read_member(sweep.paths, truth.split, number, [Job(number, f, 0) for f in range(2)])
    fitted = fit_ensemble(kind, [member], truth, seed=0)
    alone = {**report["ensemble"], "kind": kind, "members": [number]}
    changed = {**report, "ensemble": alone}
    pack_bundle(
        BundleContents(sweep, truth, changed, fitted.model, (number,), ("",)), tmp_path / "b"
    )
    predictor = Predictor(Bundle.open(tmp_path / "b"))
    limit = predictor.bundle.manifest.most_entropy
    assert limit is not None
    assert 0 < limit < np.log(3)
    known = [predictor.predict_file(file) for file in sorted(corpus.rglob("*.wav"))]
    assert np.mean([one.out_of_distribution for one in known]) < 0.1
    low_limit = replace(predictor.bundle.manifest, most_entropy=-1e-9)
    predictor.bundle = replace(predictor.bundle, manifest=low_limit)
    assert all(
        predictor.predict_file(file).out_of_distribution
        for file in sorted(corpus.rglob("*.wav"))[:3]
    )
    card = (tmp_path / "b" / "README.md").read_text()
    assert "where its confidence is lower than for nearly all" in card


def test_the_card_shows_the_calibration_error_of_calibrated_probabilities(
    study: Path,
) -> None:
    sweep = schema.load_sweep_config(str(study / "s" / "sweep.yaml"), {"runs": str(study)})
    report = read_report(sweep.paths)
    before, after = {"log_loss": 0.9, "ece": 0.2}, {"log_loss": 0.4, "ece": 0.05}
    calibration = {"temperature": 1.5, **{key: {"after": after} for key in ("out_of_fold", "test")}}
    parts = {k: {**report["ensemble"][k], **before} for k in ("out_of_fold", "test")}
    changed = {**report, "ensemble": {**report["ensemble"], **parts}}
    card = model_card({**changed, "calibration": calibration}, licence="none")
    assert card.count("| 0.400 | 0.050 |") == 2
    assert "after calibration (temperature 1.50)" in card
    card = model_card({**changed, "calibration": {"temperature": 1.5}}, licence="none")
    assert card.count("| 0.900 | 0.200 |") == 2
    assert "before calibration (temperature 1.50)" in card
