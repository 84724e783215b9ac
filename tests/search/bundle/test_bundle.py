"""A study's ensemble as a bundle: it says what the study said, by itself, or it is refused."""

import csv
import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from chorale.datasets.errors import UserError
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.disagreement import disagreement, usual_limit_of_means
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.pack.card import model_card
from chorale.search.champion.pack.pack import Packed, pack
from chorale.search.champion.registry.registry import Shelf
from chorale.search.cli import main
from chorale.search.config import schema
from chorale.search.evaluation.headline import read_headline
from chorale.search.evaluation.members import fit, read_member, said_by_networks, said_out_of_fold
from chorale.search.ledger.ground_truth import read_truth
from chorale.search.ledger.stages import Job
from chorale.search.paths import Runs
from chorale.search.report.report import read
from chorale.search.statistics.calibration import calibrate


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
ensemble: {{kind: fusion, baselines: none}}
runs: {root / "runs"}
"""
    )
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


def test_a_bundle_says_of_the_test_tracks_what_the_study_said(
    study: Path, corpus: Path, predictor: Predictor
) -> None:
    sweep = schema.load(str(study / "s" / "sweep.yaml"), {"runs": str(study)})
    truth = read_truth(sweep.paths)
    assert truth is not None
    report = read(sweep.paths)
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
    said = fit("fusion", members, truth, seed=0).test
    expected = calibrate(said, report["calibration"]["temperature"])
    found = np.stack([predictor.of_file(corpus / f"{t}").proba for t in truth.split.test_ids])
    assert len(members) == 2
    assert np.abs(found - expected).max() < 1e-4


def test_what_is_usual_is_measured_as_it_is_found_of_a_recording(
    study: Path, corpus: Path, predictor: Predictor
) -> None:
    paths = Runs(study).study("s")
    truth = read_truth(paths)
    assert truth is not None
    guesses = [predictor.of_file(corpus / track) for track in truth.split.test_ids]
    assert not any(guess.strange for guess in guesses)
    jobs = [Job(0, fold, 0) for fold in range(2)]
    members = [
        read_member(paths, truth.split, number, [replace(job, number=number) for job in jobs])
        for number in map(int, predictor.bundle.manifest.members)
    ]
    each = [disagreement(said_by_networks(members, truth.split, [fold]).proba) for fold in range(2)]
    found = [guess.disagreement for guess in guesses]
    np.testing.assert_allclose(np.mean(each, axis=0), found, rtol=1e-3, atol=1e-6)
    of_one = disagreement(said_out_of_fold(members, truth.split).proba)
    expected = usual_limit_of_means(of_one, np.stack(each))
    assert predictor.bundle.manifest.most_disagreement == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("best_baseline", 1e-6), ("soft_vote", 1e-4), ("fusion", 1e-4)]
)
def test_a_bundle_that_holds_baselines_says_what_the_study_said(
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
    truth = read_truth(paths)
    assert truth is not None
    headline = read_headline(paths, truth)
    assert headline is not None
    shutil.rmtree(runs)
    predictor = Predictor(Bundle.open(to))
    names = [one for one in predictor.bundle.manifest.members if not one.isdecimal()]
    assert names
    assert f"baseline{'s' * (len(names) > 1)} {', '.join(names)}" in capsys.readouterr().out
    assert all(name in (to / "README.md").read_text() for name in names)
    guesses = [predictor.of_file(corpus / f"{track}") for track in truth.split.test_ids]
    found = np.stack([guess.proba for guess in guesses])
    assert np.abs(found - headline.calibrated_test).max() < tolerance
    lengths = [np.linalg.norm(guess.embedding) for guess in guesses]
    np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    (other, *_) = truth.split.development_ids
    alike = guesses[0].embedding @ predictor.of_file(corpus / other).embedding
    assert alike < 0.9999, "what is different has another embedding"


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


def test_a_bundle_outlives_its_study(study: Path, bundle: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(bundle, moved)
    opened = Bundle.open(moved)
    assert opened.digest == Bundle.open(bundle).digest
    assert not any(str(study) in f.read_text() for f in moved.rglob("*.json"))
    assert (moved / "README.md").read_text().startswith("# s\n")


def test_exporting_twice_gives_the_same_bundle(study: Path, bundle: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the second time it is replaced
        assert main(["export", "s", "--runs", str(study), "--to", str(tmp_path / "b")]) == 0
    assert Bundle.open(tmp_path / "b").digest == Bundle.open(bundle).digest
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_champion_is_exported_and_asked_by_its_name(
    study: Path, bundle: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Runs(tmp_path / "runs")
    words = ["--runs", str(runs.root)]
    opened = Bundle.open(bundle)
    for name in ("best", "s"):
        Shelf(runs.champion(name)).promote(opened, expected=None, reason="it is the first")
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


def test_what_cannot_be_a_graph_is_told_in_one_line(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed (pip install '.[onnx]')")
    words = ["export", "s", "--runs", str(study), "--to", str(tmp_path / "b")]
    assert main([*words, "--onnx", str(tmp_path / "s.onnx")]) == 1
    err = capsys.readouterr().err
    assert "ensemble 'fusion': it is computed with numpy alone" in err
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
    ("change", "said"),
    [
        ({"version": 2}, "version=2, but this Chorale reads 1"),
        ({"files": {"../../etc/passwd": "0"}}, "a file outside of it"),
        ({"files": {"gone.json": "0"}}, "'gone.json' is missing"),
        ({"labels": 3}, "labels"),
    ],
)
def test_a_manifest_that_cannot_be_right_is_refused(
    bundle: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    broken = tmp_path / "b"
    shutil.copytree(bundle, broken)
    manifest = json.loads((broken / "bundle.json").read_text()) | change
    (broken / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=said):
        Bundle.open(broken)


def test_export_does_not_overwrite_what_is_no_bundle(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    assert main(["export", "s", "--runs", str(study), "--to", str(tmp_path)]) == 1
    assert "something else is there already" in capsys.readouterr().err
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_predict_names_a_folder_and_leaves_out_what_is_no_audio(
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


def test_a_stereo_file_of_another_rate_is_the_same_recording(
    predictor: Predictor, corpus: Path, tmp_path: Path
) -> None:
    wave, rate = soundfile.read(corpus / "mid" / "mid-artist1-0.wav")
    time_s = np.arange(len(wave)) / rate
    doubled = np.interp(np.arange(0, time_s[-1], 1 / 16000), time_s, wave)
    soundfile.write(tmp_path / "s.wav", np.stack([doubled, doubled], axis=1), 16000)
    mono = predictor.of_file(corpus / "mid" / "mid-artist1-0.wav")
    stereo = predictor.of_file(tmp_path / "s.wav")
    assert stereo.best == mono.best


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "expected a FILE"),
        (["x.wav"], "--bundle FOLDER, --study STUDY or --champion NAME"),
        (["x.wav", "--bundle", "nowhere"], "there is no bundle"),
        (["x.wav", "--bundle", "b", "--top", "0"], "--top expected a whole number"),
        (["x.wav", "--bundle", "b", "--timeline", "--segment", "nan"], "--segment expected"),
        (["x.wav", "--bundle", "b", "--json", "--csv"], "got both"),
    ],
)
def test_what_is_mistyped_is_told_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", *words]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert len(err.splitlines()) == 1


def test_members_that_agree_do_not_disagree_and_those_that_do_by_at_most_their_number() -> None:
    same = np.full((3, 1, 4), 0.25)
    apart = np.eye(3)[:, None, :]
    assert disagreement(same) == pytest.approx(0)
    assert disagreement(apart) == pytest.approx(np.log(3))


@pytest.mark.parametrize("kind", ["soft_vote", "best_single", "stacking"])
def test_a_bundle_of_one_network_flags_what_it_is_unsure_of(
    study: Path, tmp_path: Path, corpus: Path, kind: str
) -> None:
    sweep = schema.load(str(study / "s" / "sweep.yaml"), {"runs": str(study)})
    truth = read_truth(sweep.paths)
    assert truth is not None
    report, number = read(sweep.paths), read(sweep.paths)["best_single"]["members"][0]
    member = read_member(sweep.paths, truth.split, number, [Job(number, f, 0) for f in range(2)])
    fitted = fit(kind, [member], truth, seed=0)
    alone = {**report["ensemble"], "kind": kind, "members": [number]}
    told = {**report, "ensemble": alone}
    pack(Packed(sweep, truth, told, fitted.model, (number,), ("",)), tmp_path / "b")
    predictor = Predictor(Bundle.open(tmp_path / "b"))
    limit = predictor.bundle.manifest.most_entropy
    assert limit is not None
    assert 0 < limit < np.log(3)
    known = [predictor.of_file(file) for file in sorted(corpus.rglob("*.wav"))]
    assert np.mean([guess.strange for guess in known]) < 0.1
    strange = replace(predictor.bundle.manifest, most_entropy=-1e-9)
    predictor.bundle = replace(predictor.bundle, manifest=strange)
    assert all(predictor.of_file(file).strange for file in sorted(corpus.rglob("*.wav"))[:3])
    card = (tmp_path / "b" / "README.md").read_text()
    assert "where it is less sure than it is of nearly all" in card


def test_the_card_tells_the_calibration_error_of_the_probabilities_that_it_gives(
    study: Path,
) -> None:
    sweep = schema.load(str(study / "s" / "sweep.yaml"), {"runs": str(study)})
    report = read(sweep.paths)
    before, after = {"log_loss": 0.9, "ece": 0.2}, {"log_loss": 0.4, "ece": 0.05}
    sure = {"temperature": 1.5, **{key: {"after": after} for key in ("out_of_fold", "test")}}
    parts = {k: {**report["ensemble"][k], **before} for k in ("out_of_fold", "test")}
    told = {**report, "ensemble": {**report["ensemble"], **parts}}
    card = model_card({**told, "calibration": sure}, licence="none")
    assert card.count("| 0.400 | 0.050 |") == 2
    assert "of the probabilities that it gives (temperature 1.50)" in card
    card = model_card({**told, "calibration": {"temperature": 1.5}}, licence="none")
    assert card.count("| 0.900 | 0.200 |") == 2
    assert "before they are calibrated" in card
