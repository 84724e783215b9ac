import json
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from chorale.datasets.splitting.split import Split
from chorale.datasets.store.feature_store import FeatureStore
from chorale.lightning_models.metrics import accuracy, log_loss
from chorale.search.baselines import baseline_plan, classifiers, grid_search
from chorale.search.baselines.baselines import choose_features, run_baselines
from chorale.search.baselines.classifiers import FitJob, FitResult
from chorale.search.baselines.fitted_baselines import Baseline
from chorale.search.baselines.track_statistics import BLOCKS, track_statistics
from chorale.search.statistics.expected_accuracy import expected_accuracy

N_BINS, N_CLASSES, N_FOLDS = 3, 3, 3
N_PER_CLASS = 24


def make_store(folder: Path, tracks: list[np.ndarray], *, feature: str = "mfcc") -> FeatureStore:
    """A store as `datasets.store.cache` gives it; the tracks are named t0, t1, ..."""
    names = [f"t{i}" for i in range(len(tracks))]
    content = {"track_ids": names, "contents": names}
    (folder / "tracks.json").write_text(json.dumps(content))
    return FeatureStore(
        folder=folder,
        feature=feature,
        recipe_key="",
        frame_rate_hz=100.0,
        n_bins=tracks[0].shape[1],
        frames=np.concatenate(tracks).astype(np.float32),
        offsets=np.cumsum([0, *map(len, tracks)]),
    )


def make_tracks(rng: np.random.Generator, labels: np.ndarray) -> list[np.ndarray]:
    """Tracks whose class is in their mean (0), variance (1), or the trend from start to end (2)."""
    tracks = []
    for label in labels:
        frames = rng.normal(size=(int(rng.integers(20, 40)), N_BINS))
        if label == 0:
            frames[:, 0] += 1.5
        elif label == 1:
            frames[:, 1] *= 3
        else:
            frames[:, 2] += np.linspace(-3, 3, len(frames))
        tracks.append(frames + rng.normal(size=N_BINS) * 0.5)
    return tracks


def make_split(n: int) -> Split:
    """Every fourth track is a test track, the others are in three folds."""
    test = tuple(f"t{i}" for i in range(0, n, 4))
    rest = [i for i in range(n) if i % 4]
    return Split(test, {f"t{i}": i % 4 - 1 for i in rest}, "", N_FOLDS, 0)


def last_of_each_grid() -> dict[str, dict[str, tuple[Any, ...]]]:
    """The last value of each parameter, with fewer trees than usual."""
    fewer: dict[str, tuple[Any, ...]] = {"n_trees": (20,), "n_rounds": (10,)}
    return {
        name: {parameter: fewer.get(parameter, values[-1:]) for parameter, values in grid.items()}
        for name, grid in classifiers.GRIDS.items()
    }


def set_grids(monkeypatch: pytest.MonkeyPatch, grids: Any) -> None:
    for module in (classifiers, baseline_plan):
        monkeypatch.setattr(module, "GRIDS", grids)


@pytest.fixture(scope="module")
def fitted(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[FeatureStore, np.ndarray, Split, dict[str, Baseline]]:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(N_CLASSES), N_PER_CLASS)[rng.permutation(N_CLASSES * N_PER_CLASS)]
    store = make_store(tmp_path_factory.mktemp("store"), make_tracks(rng, labels))
    split = make_split(len(labels))
    slowest = "multilayer_perceptron"  # a fit takes as long as 100 of another classifier
    with pytest.MonkeyPatch.context() as patch:
        set_grids(patch, {**classifiers.GRIDS, slowest: last_of_each_grid()[slowest]})
        found = run_baselines(store, labels=labels, split=split)
    return store, labels, split, {one.name: one for one in found.fitted}


def test_statistics_are_of_each_bin_over_time(tmp_path: Path) -> None:
    frames = np.array([[0.0, 5.0], [3.0, 5.0], [6.0, 5.0], [9.0, 8.0], [0.0, 8.0], [0.0, 8.0]])
    store = make_store(tmp_path, [np.ones((4, 2)), frames])
    found = track_statistics(store, np.array([1, 0])).reshape(2, 7, 2)
    steps = np.diff(frames, axis=0)
    thirds = [frames[:2].mean(0), frames[2:4].mean(0), frames[4:].mean(0)]
    expected = [frames.mean(0), frames.std(0), steps.mean(0), steps.std(0), *thirds]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    np.testing.assert_allclose(found[1], [[1, 1], [0, 0], [0, 0], [0, 0], [1, 1], [1, 1], [1, 1]])


@pytest.mark.parametrize("n_frames", [1, 2])
def test_a_track_of_one_or_two_frames_has_finite_statistics(tmp_path: Path, n_frames: int) -> None:
    store = make_store(tmp_path, [np.arange(2.0 * n_frames).reshape(n_frames, 2)])
    found = track_statistics(store, np.array([0])).reshape(7, 2)
    assert np.isfinite(found).all()
    assert found[4].tolist() == [0, 1]
    assert found[6].tolist() == store.frames[-1].tolist()


def test_wide_spectra_are_reduced_to_cepstral_coefficients(tmp_path: Path) -> None:
    level = np.full((5, 128), 7.0)
    found = track_statistics(make_store(tmp_path, [level], feature="mel"), np.array([0])).reshape(
        7, 20
    )
    assert found[0, 0] == pytest.approx(7 * np.sqrt(128))
    np.testing.assert_allclose(found[0, 1:], 0, atol=1e-5)


@pytest.mark.parametrize("feature", ["mfcc", "somebody's own"])
def test_wide_features_that_are_not_spectra_are_not_reduced(tmp_path: Path, feature: str) -> None:
    frames = np.random.default_rng(0).normal(size=(5, 128)).astype(np.float32)
    found = track_statistics(make_store(tmp_path, [frames], feature=feature), np.array([0]))
    expected = np.concatenate([frames.mean(axis=0), frames.std(axis=0)])
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-6)


def embeddings(labels: np.ndarray, *, width: int = 256) -> list[np.ndarray]:
    """The class is in alternating signs: the last coefficients of a cosine transform."""
    rng = np.random.default_rng(0)
    alternating = np.where(np.arange(width) % 2, -1.0, 1.0)
    place = np.repeat(np.eye(N_CLASSES), width // N_CLASSES, axis=1)  # (N_CLASSES, about width)
    tracks = []
    for label in labels:
        signal = np.zeros(width)
        signal[: place.shape[1]] = place[label]
        tracks.append(rng.normal(size=(6, width)) + 0.5 * signal * alternating)
    return tracks


def test_an_embedding_keeps_its_information(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("logistic_regression", "svm", "svm_thirds")
    set_grids(monkeypatch, {name: last_of_each_grid()[name] for name in names})
    labels = np.tile(np.arange(N_CLASSES), 32)
    store = make_store(tmp_path, embeddings(labels), feature="encoder")
    split = make_split(len(labels))
    truth = labels[store.rows(split.test_ids)]
    made = {one.name: one for one in run_baselines(store, labels=labels, split=split).fitted}
    assert accuracy(made["logistic_regression"].test_proba, truth) > 0.9
    assert "svm_thirds" not in made, "without thirds it would equal svm"


def test_the_feature_set_is_chosen_by_out_of_fold_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("logistic_regression", "knn")
    set_grids(monkeypatch, {name: classifiers.GRIDS[name] for name in names})
    labels = np.tile(np.arange(N_CLASSES), 32)
    split = make_split(len(labels))
    rng = np.random.default_rng(0)
    tracks = {
        "mfcc": [rng.normal(size=(6, 5)) for _ in labels],
        "encoder": embeddings(labels),
    }
    stores = {}
    for name, frames in tracks.items():
        (tmp_path / name).mkdir()
        stores[name] = make_store(tmp_path / name, frames, feature=name)
    chosen = choose_features(stores, labels=labels, split=split)
    assert chosen.name == "encoder"
    assert chosen.accuracies["encoder"] > 0.9
    assert chosen.accuracies["mfcc"] < 0.6
    test = stores["mfcc"].rows(split.test_ids)
    shuffled = labels.copy()
    shuffled[test] = (labels[test] + 1) % N_CLASSES
    again = choose_features(stores, labels=shuffled, split=split)
    assert (again.name, again.accuracies) == (chosen.name, chosen.accuracies)
    store = stores["encoder"]
    of: Any = {"labels": labels, "split": split}
    first = run_baselines(store, choice=chosen, wall_s=0, **of)  # the probe is not fitted again
    assert [one.name for one in first.fitted] == ["logistic_regression"]
    whole, alone = run_baselines(store, choice=chosen, **of), run_baselines(store, **of)
    for one, other in zip(whole.fitted, alone.fitted, strict=True):
        assert (one.name, one.params) == (other.name, other.params)
        np.testing.assert_array_equal(one.oof_proba, other.oof_proba)

    set_grids(monkeypatch, {name: last_of_each_grid()[name] for name in names})  # of one point
    chosen = choose_features(stores, labels=labels, split=split)
    assert chosen.name == "encoder"
    assert len(run_baselines(store, choice=chosen, **of).fitted) == len(alone.fitted)


def test_each_baseline_predicts_for_all_rows(fitted: Any) -> None:
    _, _, split, made = fitted
    assert list(made) == list(classifiers.GRIDS)
    for one in made.values():
        assert one.oof_proba.shape == (len(split.development_ids), N_CLASSES)
        assert one.test_proba.shape == (len(split.test_ids), N_CLASSES)
        for proba in (one.oof_proba, one.test_proba):
            assert proba.dtype == np.float32
            assert (proba >= 0).all()
            np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
        json.dumps(dict(one.params), allow_nan=False)


@pytest.mark.parametrize("name", list(classifiers.GRIDS))
def test_baselines_learn_the_classes(fitted: Any, name: str) -> None:
    store, labels, split, made = fitted
    truth = labels[store.rows(split.test_ids)]
    assert accuracy(made[name].test_proba, truth) > 0.75
    assert log_loss(made[name].test_proba, truth) < 0.8


def test_the_svms_most_probable_class_is_its_decision(fitted: Any) -> None:
    store, labels, split, made = fitted
    params = made["svm"].params
    n_columns = BLOCKS[params["statistics"]] * N_BINS
    x = track_statistics(store, np.arange(len(labels)))[:, :n_columns]
    development, test = store.rows(split.development_ids), store.rows(split.test_ids)
    svm = make_pipeline(
        StandardScaler(),
        SVC(C=params["C"], gamma=params["gamma_times_columns"] / n_columns, break_ties=True),
    ).fit(x[development], labels[development])
    assert made["svm"].test_proba.argmax(axis=1).tolist() == svm.predict(x[test]).tolist()


def test_each_folds_model_predicts_the_test_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(N_CLASSES, size=90)
    store = make_store(tmp_path, [rng.normal(size=(8, N_BINS)) for _ in labels])
    split = make_split(len(labels))
    set_grids(monkeypatch, {"logistic_regression": {"statistics": ("thirds",), "C": (0.1,)}})
    (one,) = run_baselines(store, labels=labels, split=split).fitted
    x = track_statistics(store, np.arange(len(labels))).astype(float)
    development, test = store.rows(split.development_ids), store.rows(split.test_ids)
    fold_of = np.array(list(split.fold_of.values()))
    for fold, proba in enumerate(one.test_by_fold):
        others = development[fold_of != fold]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        model.fit(x[others], labels[others])
        order = np.argsort(model.predict_proba(x[test]), axis=1)
        np.testing.assert_array_equal(np.argsort(proba, axis=1), order)
        assert (order != np.argsort(one.test_proba, axis=1)).any()
    assert len(one.test_by_fold) == N_FOLDS


def test_expected_accuracy_includes_the_gain_from_more_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On 16 small corpora the final model is better on test rows than the fold models."""
    set_grids(monkeypatch, {"logistic_regression": {"statistics": ("mean_std",), "C": (1.0,)}})
    rng = np.random.default_rng(0)
    expected_gains, true_gains = [], []
    for number in range(16):
        (tmp_path / str(number)).mkdir()
        labels = rng.integers(N_CLASSES, size=400)
        tracks = [0.8 * np.eye(N_CLASSES)[y] + rng.normal(size=(2, N_CLASSES)) for y in labels]
        store = make_store(tmp_path / str(number), tracks)
        fold_of = {f"t{i}": i % 3 for i in range(60)}
        split = Split(tuple(f"t{i}" for i in range(60, 400)), fold_of, "", 3, 0)
        (one,) = run_baselines(store, labels=labels, split=split).fitted
        truth, by_fold = labels[store.rows(split.test_ids)], np.stack(one.test_by_fold)
        expected, averaged = expected_accuracy(
            one.oof_proba,
            labels[store.rows(split.development_ids)],
            by_fold,
            one.test_proba,
            configuration_bias=0.0,
            kind_bias=0.0,
        )
        assert 0.3 <= averaged.temperature_ratio <= 1
        expected_gains.append(expected.gain)
        true_gains.append(
            accuracy(one.test_proba, truth) - np.mean([accuracy(fold, truth) for fold in by_fold])
        )
    assert np.mean(true_gains) > 0.02
    assert np.mean(expected_gains) == pytest.approx(np.mean(true_gains), abs=0.02)


def test_test_labels_do_not_affect_parameters_and_predictions(
    fitted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, labels, split, made = fitted
    shuffled = labels.copy()
    test = store.rows(split.test_ids)
    shuffled[test] = (labels[test] + 1) % N_CLASSES
    quick = {name: classifiers.GRIDS[name] for name in ("logistic_regression", "svm")}
    set_grids(monkeypatch, quick)
    for one in run_baselines(store, labels=shuffled, split=split).fitted:
        assert one.params == made[one.name].params
        np.testing.assert_array_equal(one.oof_proba, made[one.name].oof_proba)
        np.testing.assert_array_equal(one.test_proba, made[one.name].test_proba)
        np.testing.assert_array_equal(one.test_by_fold, made[one.name].test_by_fold)


@pytest.mark.parametrize("name", list(classifiers.GRIDS))
def test_out_of_fold_predictions_are_not_memorised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    rng = np.random.default_rng(1)
    labels = np.tile([0, 1, 2], 48)
    store = make_store(tmp_path, [rng.normal(size=(8, N_BINS)) for _ in labels])
    split = make_split(len(labels))
    rows = store.rows(split.development_ids)
    set_grids(monkeypatch, {name: last_of_each_grid()[name]})
    (one,) = run_baselines(store, labels=labels, split=split).fitted
    assert accuracy(one.oof_proba, labels[rows]) < 0.5


@pytest.mark.parametrize("gammas", [(0.3, 1e6), (1e6, 0.3)])
def test_parameters_are_chosen_by_out_of_fold_accuracy(
    fitted: Any, monkeypatch: pytest.MonkeyPatch, gammas: tuple[float, float]
) -> None:
    store, labels, split, _ = fitted
    grid = {"statistics": ("thirds",), "gamma_times_columns": gammas, "C": (1.0,)}
    set_grids(monkeypatch, {"svm": grid})
    (one,) = run_baselines(store, labels=labels, split=split).fitted
    assert one.params["gamma_times_columns"] == 0.3


def test_a_class_without_training_rows_gets_the_lowest_probability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.array([0, 1] * 8 + [2] * 4)
    store = make_store(tmp_path, make_tracks(np.random.default_rng(0), labels))
    fold_of = {f"t{i}": 1 if i >= 16 else i // 2 % 2 for i in range(1, 20)}
    split = Split(("t0",), fold_of, "", 2, 0)
    set_grids(monkeypatch, last_of_each_grid())
    for one in run_baselines(store, labels=labels, split=split).fitted:
        held_out = one.oof_proba[[fold == 1 for fold in fold_of.values()]]
        assert (held_out[:, 2] <= held_out.min(axis=1)).all()


def test_two_classes_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_grids(monkeypatch, last_of_each_grid())
    rng = np.random.default_rng(0)
    labels = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 8)
    store = make_store(tmp_path, make_tracks(rng, labels))
    split = make_split(len(labels))
    truth = labels[store.rows(split.test_ids)]
    for one in run_baselines(store, labels=labels, split=split).fitted:
        assert one.test_proba.shape[1] == 2
        assert accuracy(one.test_proba, truth) > 0.75


@pytest.mark.parametrize(("share", "slowdown"), [(0.25, 4.0), (1.5, 1.0)])
def test_the_share_of_the_processor_that_fits_get_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, slowdown: float
) -> None:
    set_grids(monkeypatch, last_of_each_grid())
    labels = np.tile([0, 0, 0, 0, 1, 1, 1, 1], 8)
    store = make_store(tmp_path, make_tracks(np.random.default_rng(0), labels))
    monkeypatch.setattr("time.process_time", lambda: share * time.perf_counter())
    found = run_baselines(store, labels=labels, split=make_split(len(labels)))
    assert found.slowdown == pytest.approx(slowdown, rel=0.1)


def test_a_folds_parameters_are_chosen_on_the_other_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.tile([0, 1], 32)
    split = make_split(len(labels))
    fold_of = [split.fold_of.get(f"t{i}", 0) for i in range(len(labels))]
    # each track's value encodes its fold and its class
    tracks = [np.full((2, 1), 10.0 * fold + y) for fold, y in zip(fold_of, labels, strict=True)]
    store = make_store(tmp_path, tracks)
    truth = labels[store.rows(split.development_ids)]
    fold = np.array(list(split.fold_of.values()))

    def canned(job: FitJob) -> FitResult:
        """One setting is right on fold 0 alone, the other on folds 1 and 2."""
        of_fold, of_class = np.divmod(job.x_new[:, 0].astype(int), 10)
        right = (of_fold == 0) if job.params["C"] == 1.0 else (of_fold > 0)
        scores = 3.0 * np.eye(2)[np.where(right, of_class, 1 - of_class)]
        return FitResult(scores, 0.0, None)

    monkeypatch.setattr(grid_search, "fit_and_score", canned)
    grid = {"statistics": ("mean_std",), "C": (1.0, 2.0)}
    set_grids(monkeypatch, {"logistic_regression": grid})
    (one,) = run_baselines(store, labels=labels, split=split).fitted
    assert one.params["C"] == 2.0
    right = one.oof_proba.argmax(axis=1) == truth
    # without fold 1, each is right on one fold: the tie goes to the first, wrong on fold 1
    assert [float(right[fold == at].mean()) for at in range(3)] == [0.0, 0.0, 0.0]


def one_second_fit(job: FitJob) -> FitResult:
    """Random scores that depend on everything in a job, as of a fit that took a second."""
    facts = f"{job.name} {job.params} {job.seed} {job.is_final}".encode()
    seed = zlib.crc32(facts + b"".join(each.tobytes() for each in (job.x, job.y, job.x_new)))
    scores = np.random.default_rng(seed).normal(size=(len(job.x_new), job.n_classes))
    return FitResult(scores, 1.0, None)


def n_points() -> list[int]:
    return [int(np.prod([len(v) for v in grid.values()])) for grid in classifiers.GRIDS.values()]


def test_grids_shrink_before_classifiers_are_left_out_and_both_are_reported(
    tmp_path: Path, fitted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, labels, split, made = fitted
    n_all = len(classifiers.GRIDS)
    monkeypatch.setattr(grid_search, "fit_and_score", one_second_fit)
    data = {"labels": labels, "split": split}
    n_with_a_choice = sum(n > 1 for n in n_points())
    # 3 folds of a second for each point; reserved are 1.5 s for the final fit, and 3 s for the
    # refits with chosen settings
    some = run_baselines(store, limit_s=4.5 * n_all + 3 * n_with_a_choice + 7, **data)
    assert {one.name for one in some.fitted} == set(made)
    assert some.spent_s <= some.limit_s
    assert any("settings for lack of time" in line for line in some.left_out)
    few = run_baselines(store, limit_s=3.5, **data)
    names = [one.name for one in few.fitted]
    assert 0 < len(names) < n_all
    assert "gradient_boosting" not in names, "it is the most expensive"
    for name in set(made) - set(names):
        assert any(line.startswith(f"{name} was left out") for line in few.left_out)
    every = run_baselines(store, **data)
    assert every.left_out == []
    assert every.spent_s == 3 * (sum(n_points()) + n_with_a_choice) + n_all


def test_without_any_time_the_cheapest_classifier_is_still_fitted(
    fitted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, labels, split, _ = fitted
    monkeypatch.setattr(grid_search, "fit_and_score", one_second_fit)
    found = run_baselines(store, labels=labels, split=split, limit_s=-5.0)
    assert len(found.fitted) == 1
    assert len(found.left_out) == len(classifiers.GRIDS)


@pytest.mark.parametrize("limit_s", [3.5, 40.0, np.inf])
def test_results_do_not_depend_on_the_number_of_processes(
    fitted: Any, monkeypatch: pytest.MonkeyPatch, limit_s: float
) -> None:
    store, labels, split, _ = fitted
    monkeypatch.setattr(grid_search, "fit_and_score", one_second_fit)
    monkeypatch.setattr(baseline_plan, "IN_PROCESS_S", 0.0)

    def eager(work: Any, jobs: Any) -> Any:
        """Runs ahead of the results, as processes do."""
        waiting = []
        for job in jobs:
            waiting.append(work(job))
            if len(waiting) > 7:
                yield waiting.pop(0)
        yield from waiting

    alone, many = (
        run_baselines(store, labels=labels, split=split, limit_s=limit_s, run=run)
        for run in (map, eager)
    )
    assert (alone.left_out, alone.spent_s) == (many.left_out, many.spent_s)
    for one, other in zip(alone.fitted, many.fitted, strict=True):
        assert (one.name, one.params) == (other.name, other.params)
        np.testing.assert_array_equal(one.oof_proba, other.oof_proba)
        np.testing.assert_array_equal(one.test_proba, other.test_proba)


def test_the_time_limit_is_a_tenth_of_the_search_but_at_least_the_minimum() -> None:
    assert baseline_plan.limit_s(0.0) == baseline_plan.MIN_LIMIT_S
    assert baseline_plan.limit_s(7_200.0) == 720.0


def test_folds_by_time_and_rows_only_trained_on_are_no_leak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows carry their number as a column, so each fit shows what it was trained on."""
    knn = {"statistics": ("mean_std",), "k": (1, 3)}
    set_grids(monkeypatch, {"knn": knn})
    n = 40
    labels = np.arange(n) % 2
    frames = [np.full((4, N_BINS), float(row)) for row in range(n)]
    store = make_store(tmp_path, frames)
    side = {row: 2 - row // 10 for row in range(30)}  # the first ten, fold 1, fold 0, the test set
    split = Split(
        tuple(sorted(f"t{row}" for row in range(30, n))),
        {f"t{row}": fold for row, fold in side.items() if fold < 2},
        "",
        2,
        0,
        train_only={f"t{row}": 2 for row, fold in side.items() if fold == 2},
        by_time=True,
    )
    trained = []

    def spy(job: FitJob) -> FitResult:
        trained.append((job.is_final, job.x[:, 0].min(), job.x[:, 0].max(), len(job.x)))
        return fit_and_score(job)

    fit_and_score = classifiers.fit_and_score
    monkeypatch.setattr(grid_search, "fit_and_score", spy)
    (found,) = run_baselines(store, labels=labels, split=split).fitted
    by_fold = {(low, high, n) for is_final, low, high, n in trained if not is_final}
    assert by_fold == {(0.0, 19.0, 20), (0.0, 9.0, 10)}
    assert [(low, high, n) for is_final, low, high, n in trained if is_final] == [(0.0, 29.0, 30)]
    assert found.oof_proba.shape == (20, 2)
    assert np.allclose(found.oof_proba.sum(axis=1), 1)
    assert [len(one) for one in found.test_by_fold] == [10, 10]
    set_grids(monkeypatch, {"logistic_regression": {"statistics": ("mean_std",), "C": (1.0,)}})
    stores = {"a": store, "b": store}
    trained.clear()
    choice = choose_features(stores, labels=labels, split=split)
    assert choice.name == "a"
    assert choice.accuracies["a"] == choice.accuracies["b"]
    assert {(low, high) for _, low, high, _ in trained} == {(0.0, 19.0), (0.0, 9.0)}
