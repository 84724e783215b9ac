"""Model compression: distillation without leakage, latency limit, choice without the test set."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chorale.cluster.base import Decision, TrialSpec
from chorale.datasets.splitting.split import Split
from chorale.lightning_models.training import checkpoint
from chorale.search.baselines import baseline_plan, classifiers
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.bundle.single_network import fit_calibration
from chorale.search.champion.compress import run, teacher
from chorale.search.champion.compress.student import PRUNED, STAGE
from chorale.search.champion.compress.teacher import Teacher
from chorale.search.champion.compress.variants import Variant, choose_variant, variant_rows
from chorale.search.champion.registry.registry import Registry
from chorale.search.cli import main
from chorale.search.config import schema
from chorale.search.config.resolve import resolve
from chorale.search.config.schema import SearchConfig
from chorale.search.config.space import make_space
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import PreparedData, prepare
from chorale.search.ledger.predictions import PredictionPart, write_predictions
from chorale.search.ledger.reader import LedgerReader
from chorale.search.paths import Runs, TrialPaths
from chorale.search.study import study as search_study
from chorale.search.study.initial_points import InitialPoints
from chorale.search.study.proposals import Measured, Proposals
from chorale.search.training import latency
from chorale.search.training.latency import Latency, measure_cost
from chorale.search.training.model_cost import ModelLimit, Refusal
from chorale.search.training.run_trial import _fold, run_trial
from chorale.search.training.trial_plan import TrialPlan, TrialResult

NONE = ["--cluster.address", "none"]
NAME = "s-student-500ms"
WORDS = ["--target-ms", "500", "--trials", "2", *NONE]


@pytest.fixture(scope="module", autouse=True)
def _few_rounds() -> Iterator[None]:
    """Latencies are measured with less than the usual number of predictions."""
    measure = latency.measure_latency
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            latency, "measure_latency", lambda call, rounds: measure(call, min(rounds, 10))
        )
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """The runs folder of a finished study `s`."""
    root = tmp_path_factory.mktemp("compress")
    sweep = root / "s.yaml"
    sweep.write_text(
        f"""
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features:
  mel: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24}}
architectures: [cnn]
space:
  cnn: {{n_layers: 2, width: 16, pooling: mean_max, dropout: 0.1}}
  train: {{optimizer: adamw, lr: {{log_float: [0.002, 0.003]}}, center: false}}
train: {{crop_s: 0.4, batch_size: 16}}
budget: {{trials: 2, max_epochs: 2}}
finalists: {{configs: 2, folds: 2}}
ensemble: {{kinds: [soft_vote], baselines: none}}
search: {{pruner: none}}
runs: {root / "runs"}
"""
    )
    with pytest.MonkeyPatch.context() as patch:  # one baseline, as the teacher is of networks only
        for module in (classifiers, baseline_plan):
            patch.setattr(module, "GRIDS", {"knn": {"statistics": ("mean_std",), "k": (3,)}})
        assert main(["sweep", str(sweep), *NONE]) == 0
    return root / "runs"


@pytest.fixture(scope="module")
def compressed(study: Path) -> dict[str, Any]:
    """The content of `compress.json` after `chorale compress`."""
    assert main(["compress", "s", *WORDS, "--runs", str(study)]) == 0
    found: dict[str, Any] = json.loads((study / NAME / "compress.json").read_text())
    return found


@pytest.fixture(scope="module")
def prepared(study: Path) -> PreparedData:
    from rich.console import Console

    sweep = schema.load_sweep_config(str(study / "s" / "sweep.yaml"), {"runs": str(study)})
    resolved = resolve(sweep, where="test")
    return prepare(resolved, Progress(Console(quiet=True)), map)


def test_the_command_writes_every_variant_and_a_bundle(
    study: Path, compressed: dict[str, Any], corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [one["variant"] for one in compressed["variants"]]
    assert names[:4] == ["ensemble", "best single", "student", "student, pruned"]
    for one in compressed["variants"]:
        low, high = one["test"]["ci95"]
        assert 0 <= low <= one["test"]["accuracy"] <= high <= 1
        assert one["processor_ms"] > 0
        assert 0 < one["p50_ms"] <= one["p99_ms"]
        assert one["size_mb"] > 0
    student = next(one for one in compressed["variants"] if one["variant"] == "student")
    assert student["test"]["accuracy"] > 0.6  # tones of three heights are easy
    bundle = Bundle.open(Path(compressed["bundle"]))
    if compressed["chosen"] != "best single":
        assert len(bundle.manifest.networks) == 1
        assert bundle.manifest.most_entropy is not None
    clip = str(corpus / "low" / "low-artist0-0.wav")
    capsys.readouterr()
    assert main(["predict", clip, "--bundle", compressed["bundle"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] in bundle.manifest.labels


def test_the_bundle_reaches_the_reported_test_accuracy(
    study: Path, compressed: dict[str, Any], corpus: Path
) -> None:
    predictor = Predictor(Bundle.open(Path(compressed["bundle"])))
    truth = json.loads((study / NAME / "truth.json").read_text())["tracks"]
    test_ids = json.loads((study / NAME / "split.json").read_text())["test_ids"]
    right = [predictor.predict_file(corpus / t).best == truth[t][0] for t in test_ids]
    line = next(o for o in compressed["variants"] if o["variant"] == compressed["chosen"])
    assert np.mean(right) == pytest.approx(line["test"]["accuracy"])


def test_all_variants_count_as_one_test_look_and_a_second_run_as_none(
    study: Path, compressed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compressed["test_looks"] == 2  # the study's own, and this one
    capsys.readouterr()
    words = ["compress", "s", *WORDS, "--runs", str(study), "--to", str(tmp_path / "b")]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "nothing is trained or evaluated again" in out
    assert f"chorale predict FILE --bundle {tmp_path / 'b'}" in out
    assert Bundle.open(tmp_path / "b").digest == Bundle.open(Path(compressed["bundle"])).digest
    ledger = LedgerReader(Runs(study).ledger_url)
    try:
        assert {key.split("/")[1] for key in ledger.rows(NAME, STAGE)} == {"0", "1", "2"}
        assert len(ledger.rows(NAME, PRUNED)) == 3
    finally:
        ledger.close()


def test_graphs_are_written_and_measured(study: Path, compressed: dict[str, Any]) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed (pip install '.[onnx]')")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    float32, int8 = compressed["variants"][4:]
    assert (float32["variant"], int8["variant"]) == ("ONNX", "ONNX int8")
    assert int8["size_mb"] < float32["size_mb"]
    assert int8["out_of_fold"] > 0.5
    base = compressed["chosen"] if compressed["chosen"] != "best single" else "student"
    chosen = next(o for o in compressed["variants"] if o["variant"] == base)
    assert abs(float32["test"]["accuracy"] - chosen["test"]["accuracy"]) < 0.1


def test_an_interrupted_compression_resumes_to_the_same_result(
    study: Path, compressed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from chorale.search.champion.compress import student

    words = ["compress", "s", "--target-ms", "501", "--trials", "2", *NONE, "--runs", str(study)]
    with monkeypatch.context() as patch:

        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(student.Students, "prune", stop)
        assert main(words) == 130
    assert not (study / "s-student-501ms" / "compress.json").exists()
    before = {
        path: path.stat().st_mtime_ns
        for path in (study / "s-student-501ms" / "finalists").rglob("weights-*")
    }
    assert main(words) == 0
    found = json.loads((study / "s-student-501ms" / "compress.json").read_text())
    assert before
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    for one, other in zip(found["variants"], compressed["variants"], strict=True):
        assert one["out_of_fold"] == other["out_of_fold"]
        assert one["test"] == other["test"]


def test_a_student_study_is_not_resumed_as_an_ordinary_one(
    study: Path, compressed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", NAME, "--runs", str(study)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "error", "code"),
    [
        (["nobody"], "unknown study 'nobody'; choose from: ", 1),
        ([], "expected the name of a study or champion", 2),
        (
            ["s", "--target-ms", "quick"],
            "--target-ms should be a number above 0, but got 'quick'",
            2,
        ),
        (["s", "--target-ms", "-3"], "--target-ms should be a number above 0", 2),
        (["s", "--trials", "2.5"], "--trials should be a whole number", 2),
        (["s", "--budget.minutes", "3"], "only --cluster.KEY may change", 2),
        (["s", "--target-ms", "0.01", *NONE], "the features alone (mel) take", 1),
        (["champions/none"], "there is no champion 'none'", 1),
    ],
)
def test_each_bad_input_is_one_line(
    study: Path, words: list[str], error: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["compress", *words, "--runs", str(study)]) == code
    err = capsys.readouterr().err
    assert error in err
    assert len(err.splitlines()) == 1


def test_a_bundle_is_refused_with_the_study_to_name_instead(
    study: Path, compressed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "s", "--runs", str(study), "--to", str(tmp_path / "b")]) == 0
    capsys.readouterr()
    assert main(["compress", str(tmp_path / "b"), "--runs", str(study)]) == 1
    err = capsys.readouterr().err
    assert "chorale compress s" in err
    opened = Bundle.open(tmp_path / "b")
    Registry(Runs(study).champion("best")).promote(opened, expected=None, reason="the first")
    assert main(["compress", "best", *WORDS, "--runs", str(study)]) == 0
    assert "nothing is trained or evaluated again" in capsys.readouterr().out


def test_where_no_candidate_keeps_to_the_limit_the_error_names_the_fastest(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    monkeypatch.setattr(run, "_refuse_slow_features", lambda *_: None)
    monkeypatch.setattr(search_study, "MAX_REFUSED_IN_A_ROW", 2)
    words = ["compress", "s", "--target-ms", "0.02", "--trials", "2", *NONE, "--runs", str(study)]
    assert main(words) == 1
    err = capsys.readouterr().err
    assert "no candidate keeps to 0.02 ms: 2 of 2 were too slow, the fastest took" in err
    assert "--target-ms" in err
    ledger = LedgerReader(Runs(study).ledger_url)
    try:
        rows = ledger.rows("s-student-0.02ms", "search")
    finally:
        ledger.close()
    assert {row.state for row in rows.values()} == {"FAIL"}
    assert len({row.reason for row in rows.values()}) == 2  # each gives its own milliseconds
    assert {row.facts["failure"] for row in rows.values()} == {"over the limit"}


def plan(study: Path, prepared: PreparedData, folder: Path, **changes: Any) -> TrialPlan:
    split = prepared.split
    made = TrialPlan(
        architecture="cnn",
        config={"n_layers": 2, "width": 8, "dense": 16},
        features="mel",
        features_config={"sample_rate": 8000, "n_fft": 256, "hop_length": 128, "n_mels": 24},
        train={"max_epochs": 4, "crop_s": 0.4, "batch_size": 8, "mixup_alpha": 0.3},
        store=str(prepared.stores["mel"]),
        labels=prepared.labels,
        class_names=prepared.class_names,
        train_rows=prepared.rows(split.train_ids(0)),
        valid_rows=prepared.rows(split.valid_ids(0)),
        extra_rows=prepared.rows(split.test_ids),
        seed=3,
        keep="last",
        objective="accuracy",
        folder=str(folder),
    )
    return replace(made, **changes)


def make_teacher(prepared: PreparedData) -> Teacher:
    rng = np.random.default_rng(0)
    n = len(prepared.split.development_ids)
    return Teacher(tuple(rng.dirichlet(np.ones(3), n).astype(np.float32) for _ in range(2)))


def test_no_row_but_training_rows_has_a_target(prepared: PreparedData) -> None:
    made, split = make_teacher(prepared), prepared.split
    for fold, ids in ((0, split.train_ids(0)), (1, split.train_ids(1)), (2, split.development_ids)):
        targets = made.targets(prepared, fold)
        known = np.asarray(np.isfinite(targets).all(axis=1))
        assert sorted(np.flatnonzero(known)) == sorted(prepared.rows(ids))
        assert np.isnan(targets[~known]).all()
        assert not known[prepared.rows(split.test_ids)].any()
        assert targets[known].sum(axis=1) == pytest.approx(1)


def test_a_fold_s_targets_come_only_from_networks_not_trained_on_its_tracks(
    prepared: PreparedData,
) -> None:
    """Predictions of other folds' networks, which were trained on its tracks, change nothing."""
    made = make_teacher(prepared)
    other = Teacher((made.of_fold[0], np.roll(made.of_fold[1], 1, axis=1)))
    mine, theirs = (one.targets(prepared, 0) for one in (made, other))
    assert np.array_equal(mine, theirs, equal_nan=True)
    mine, theirs = (one.targets(prepared, 2) for one in (made, other))
    assert not np.array_equal(mine, theirs, equal_nan=True)
    assert made.digest != other.digest


def test_half_of_a_target_is_the_label(prepared: PreparedData) -> None:
    made = make_teacher(prepared)
    targets = made.targets(prepared, 0)
    track = prepared.split.train_ids(0)[0]
    [row] = prepared.rows([track])
    proba = made.of_fold[0][list(prepared.split.development_ids).index(track)]
    expected = 0.5 * proba
    expected[prepared.labels[row]] += 0.5
    assert targets[row] == pytest.approx(expected)


def test_a_teacher_is_written_and_read_back(prepared: PreparedData, tmp_path: Path) -> None:
    made = make_teacher(prepared)
    assert teacher.read_teacher(tmp_path / "t.safetensors", prepared) is None
    teacher.write_teacher(tmp_path / "t.safetensors", made, prepared)
    kept = teacher.read_teacher(tmp_path / "t.safetensors", prepared)
    assert kept is not None
    assert kept.digest == made.digest


def _continue(step: int, metrics: Any) -> Decision:
    return Decision.CONTINUE


def _trained(plan: TrialPlan) -> TrialResult:
    found = run_trial(TrialSpec(0, {"plan": plan}), _continue)
    assert isinstance(found, TrialResult)
    return found


def test_targets_change_a_trial_and_resuming_does_not(
    study: Path, prepared: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chorale.lightning_models.training import resume

    monkeypatch.setattr(resume, "SAVE_INTERVAL_S", 0.0)
    targets = make_teacher(prepared).targets(prepared, 0)
    specs = {
        name: TrialSpec(0, {"plan": plan(study, prepared, tmp_path / name, targets=targets)})
        for name in ("whole", "pieces")
    }
    whole = _trained(specs["whole"].payload["plan"])

    def fail_at_3(step: int, metrics: Any) -> Decision:
        if step == 3:
            raise RuntimeError("interrupted")
        return Decision.CONTINUE

    with pytest.raises(RuntimeError, match="interrupted"):
        run_trial(specs["pieces"], fail_at_3)
    pieces = _trained(specs["pieces"].payload["plan"])
    assert pieces.resumed_after == 2
    assert np.array_equal(whole.valid_proba, pieces.valid_proba)
    assert whole.extra_proba is not None
    assert pieces.extra_proba is not None
    assert np.array_equal(whole.extra_proba, pieces.extra_proba)
    hard = _trained(plan(study, prepared, tmp_path / "hard"))
    assert not np.array_equal(whole.valid_proba, hard.valid_proba)


def test_cached_fold_data_are_not_reused_for_another_teacher(
    study: Path, prepared: PreparedData, tmp_path: Path
) -> None:
    targets = make_teacher(prepared).targets(prepared, 0)
    first = _fold(plan(study, prepared, tmp_path, targets=targets))
    assert _fold(plan(study, prepared, tmp_path, targets=targets)) is first
    assert _fold(plan(study, prepared, tmp_path)).targets is None
    turned = np.roll(targets, 1, axis=1)
    again = _fold(plan(study, prepared, tmp_path, targets=turned)).targets
    assert again is not None
    assert np.array_equal(again, turned, equal_nan=True)


def test_a_candidate_above_the_latency_limit_is_not_trained(
    study: Path, prepared: PreparedData, tmp_path: Path
) -> None:
    slow = plan(study, prepared, tmp_path / "t", limit=ModelLimit(0.01))
    refused = run_trial(TrialSpec(0, {"plan": slow}), _continue)
    assert isinstance(refused, Refusal)
    assert re.match(
        r"over the limit: 1 network on \w+ would take \S+ ms where 0.01", refused.reason
    )
    assert refused.cost.features_ms > 0
    assert refused.cost.network_ms > 0
    assert not TrialPaths(tmp_path / "t").weights.exists()
    assert not TrialPaths(tmp_path / "t").metrics_csv.exists()
    assert ModelLimit(1e6).refusal(measure_cost(slow, _fold(slow))) is None


def test_the_sampler_gets_an_accuracy_of_0_for_a_candidate_that_was_too_slow() -> None:
    """Other failures are not passed to it."""
    from optuna.trial import TrialState, create_trial

    space, problems = make_space(["mlp"], ["stats57"], {}, fixed={})
    assert space is not None, problems
    proposals = Proposals(space, SearchConfig(), InitialPoints())
    kept = proposals._study
    for too_slow in (True, False):
        params, distributions = proposals.propose()
        trial = create_trial(state=TrialState.FAIL, params=params, distributions=distributions)
        trial.number = len(kept.trials) - 1
        proposals.end(trial, Measured(is_worst=too_slow))
    assert [one.state for one in kept.trials] == [TrialState.COMPLETE, TrialState.FAIL]
    assert kept.trials[0].values == [0.0]


def test_a_training_without_held_out_rows_may_not_select_the_best_epoch(
    study: Path, prepared: PreparedData, tmp_path: Path
) -> None:
    rows = prepared.rows(prepared.split.development_ids)
    more: dict[str, Any] = {"train_rows": rows, "valid_rows": rows[:1]}
    with pytest.raises(ValueError, match="trained on and scored on"):
        plan(study, prepared, tmp_path, **more)
    with pytest.raises(ValueError, match="no epoch is the best"):
        plan(study, prepared, tmp_path, no_holdout=True, keep="best", **more)
    tests = prepared.rows(prepared.split.test_ids)
    more["train_rows"] = np.concatenate([rows, tests])
    with pytest.raises(ValueError, match="trained on and scored on"):
        plan(study, prepared, tmp_path, no_holdout=True, **more)


def test_a_pruned_training_starts_from_the_weights_of_the_wide_one(
    study: Path, prepared: PreparedData, tmp_path: Path
) -> None:
    wide = plan(study, prepared, tmp_path / "wide")
    found = _trained(wide)
    weights = str(TrialPaths(tmp_path / "wide").weights)
    train = {**wide.train, "max_epochs": 1, "lr": 1e-9, "warm_up": 0.0, "schedule": "constant"}
    same = replace(wide, start=weights, folder=str(tmp_path / "same"), train=train)
    again = _trained(same)
    assert np.abs(again.valid_proba - found.valid_proba).max() < 0.2  # batch norms keep updating
    half = replace(same, config={**wide.config, "width": 4, "dense": 8})
    half = replace(half, folder=str(tmp_path / "half"))
    assert half.reads == (wide.store, weights)
    narrower = _trained(half)
    assert narrower.n_parameters < found.n_parameters
    module, _ = checkpoint.load_checkpoint(TrialPaths(tmp_path / "half").weights)
    assert module.config.width == 4


def variant(name: str, right: list[int], ms: float, **more: Any) -> Variant:
    """A variant that predicts the rows in `right` correctly, of four with classes 0, 1, 0, 1."""
    proba = np.array([[0.2, 0.8], [0.8, 0.2], [0.2, 0.8], [0.8, 0.2]])
    proba[right] = proba[right][:, ::-1]
    return Variant(name, proba, proba, Latency(ms, ms, ms), 1.0, can_be_chosen=True, **more)


LABELS = np.array([0, 1, 0, 1])


def test_the_best_variant_out_of_fold_within_the_limit_is_chosen_of_equals_the_fastest() -> None:
    good, slow = variant("good", [0, 1, 2], 20), variant("slow", [0, 1, 2, 3], 40)
    quick, poor = variant("quick", [1, 2, 3], 10), variant("poor", [0], 1)
    ensemble = replace(variant("ensemble", [0, 1, 2, 3], 5), can_be_chosen=False)
    chosen = choose_variant([ensemble, slow, good, quick, poor], LABELS, limit_ms=30)
    assert chosen is quick
    assert choose_variant([ensemble, slow], LABELS, limit_ms=30) is None
    assert choose_variant([ensemble, slow, good], LABELS, limit_ms=50) is slow


def test_test_predictions_do_not_affect_the_choice() -> None:
    good = variant("good", [0, 1, 2], 20)
    other = variant("other", [0], 20)
    for swapped in (replace(good, test=other.test), replace(good, test=1 - good.test)):
        assert choose_variant([swapped, other], LABELS, limit_ms=30) is swapped


def test_differences_are_paired_with_the_first_variant() -> None:
    groups = np.array(["a", "a", "b", "b"])
    both = [variant("ensemble", [0, 1, 2, 3], 5), variant("student", [0, 1, 2], 5)]
    found = variant_rows(both, development=LABELS, test=LABELS, groups=groups)
    assert [one["difference"] for one in found] == [0.0, -0.25]
    low, high = found[1]["difference_ci95"]
    assert low <= -0.25 <= high


def test_a_single_network_flags_out_of_distribution_by_entropy() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(3), 100)
    groups = np.repeat(np.arange(30), 10).astype(str)
    proba = rng.dirichlet(np.full(3, 0.3), 300)
    proba[np.arange(300), labels] += 1.0
    proba /= proba.sum(axis=1, keepdims=True)
    fitted = fit_calibration(proba, labels, groups, coverage=0.9, seed=0)
    from chorale.search.bundle.disagreement import predictive_entropy
    from chorale.search.statistics.calibration import calibrate

    assert fitted.most_entropy is not None
    entropy = predictive_entropy(calibrate(proba, fitted.temperature))
    assert np.mean(entropy > fitted.most_entropy) <= 0.01
    assert fitted.most_entropy < np.log(3)


def test_a_clip_is_thirty_seconds_long() -> None:
    assert len(latency.make_clip(8000)) == 240_000
    slow = latency.measure_latency(lambda: sum(range(20_000)), rounds=5)
    assert 0 < slow.p50_ms <= slow.p99_ms


def test_a_teacher_of_another_split_is_refused(prepared: PreparedData, tmp_path: Path) -> None:
    from chorale.datasets.errors import UserError

    ids = tuple(prepared.split.development_ids)
    proba = make_teacher(prepared).of_fold[0]
    write_predictions(
        tmp_path / "t",
        {"fold-0": PredictionPart(ids, proba), "fold-1": PredictionPart(ids, proba)},
        split="another",
    )
    with pytest.raises(UserError, match="another split"):
        teacher.read_teacher(tmp_path / "t", prepared)


def test_a_study_with_tracks_that_are_only_trained_on_is_refused() -> None:
    from chorale.datasets.errors import UserError

    split = Split(("a",), {"b": 0, "c": 1}, "by time", 2, 0, {"d": 2}, by_time=True)
    with pytest.raises(UserError, match=r"are only trained on \(1; by time\)"):
        run._refuse_train_only(split)
    run._refuse_train_only(replace(split, train_only={}, by_time=False))
