"""Baselines on embeddings of frozen encoders: pooled vectors, and every encoder in the table."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chorale.datasets.splitting.split import Split
from chorale.datasets.store.feature_store import FeatureStore
from chorale.lightning_models.metrics import accuracy
from chorale.search.baselines import baseline_plan, classifiers, grid_search
from chorale.search.baselines.baseline_file import read_baseline
from chorale.search.baselines.baselines import choose_features, run_baselines
from chorale.search.baselines.classifiers import FitJob, FitResult
from chorale.search.baselines.fitted_baselines import Baselines
from chorale.search.baselines.names import baseline_name, split_name
from chorale.search.baselines.track_statistics import StatisticsLayout, track_statistics
from chorale.search.evaluation.stored_baselines import (
    baseline_names,
    read_baselines,
    write_baselines,
)
from chorale.search.paths import StudyPaths
from tests.search.baselines.test_baselines import make_split, make_store, set_grids

N_CLASSES = 4
WIDTH = 60
GRIDS = {
    "logistic_regression": {"statistics": ("mean_std",), "C": (0.01, 0.1)},
    "svm": {"statistics": ("mean_std",), "gamma_times_columns": (0.3,), "C": (1.0, 10.0)},
    "knn": {"statistics": ("mean_std",), "k": (7, 3)},
    "random_forest": {"statistics": ("thirds",), "n_trees": (5,)},
}


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).permutation(np.tile(np.arange(N_CLASSES), 36))


def encoder(
    folder: Path,
    facts: np.ndarray,
    *,
    seed: int,
    n_frames: int = 3,
    feature: str = "encoder",
    strength: float = 3.0,
) -> FeatureStore:
    """Frames of noise, in which the first columns tell which of its values each fact has."""
    rng = np.random.default_rng(seed)
    signal = np.zeros((len(facts), WIDTH))
    signal[np.arange(len(facts)), facts] = strength
    noise = rng.normal(size=(len(facts), n_frames, WIDTH))
    folder.mkdir()
    return make_store(folder, list(signal[:, None] + noise), feature=feature)


def fit(
    stores: dict[str, FeatureStore], labels: np.ndarray, split: Split, **args: Any
) -> Baselines:
    """As a sweep does it: chooses one of the feature sets; the others are further ones."""
    choice = choose_features(stores, labels=labels, split=split)
    others = {name: store for name, store in stores.items() if name != choice.name}
    found = run_baselines(
        stores[choice.name], labels=labels, split=split, choice=choice, others=others, **args
    )
    return replace(found, feature_accuracies=choice.accuracies)


def test_accuracy(found: Baselines, name: str, labels: np.ndarray, split: Split) -> float:
    (one,) = [one for one in found.fitted if one.name == name]
    truth = np.array([labels[int(track[1:])] for track in split.test_ids])
    return accuracy(one.test_proba, truth)


test_accuracy.__test__ = False  # type: ignore[attr-defined]


def test_names_say_which_features_are_not_those_chosen_for_all() -> None:
    for features in ("", "encoder-b", "joined-birdnet+musicnn"):
        assert split_name(baseline_name("svm", features)) == ("svm", features)
    assert baseline_name("svm", "encoder-b") == "svm (encoder-b)"
    files = {StudyPaths(Path("s")).baseline(baseline_name("svm", f)).name for f in ("", "a", "b")}
    assert files == {"svm.safetensors", "svm@a.safetensors", "svm@b.safetensors"}


def test_pooled_vectors_are_maximum_mean_and_standard_deviation(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).normal(size=(5, 7))
    layout = StatisticsLayout.of(make_store(tmp_path, [frames], feature="encoder"))
    assert layout.is_embedding
    row = track_statistics(make_store(tmp_path, [frames], feature="encoder"), np.array([0]))[0]
    mean, std, most = frames.mean(axis=0), frames.std(axis=0), frames.max(axis=0)
    expected = {"mean": [mean], "mean_max": [most, mean], "mean_std": [mean, std]}
    assert layout.choices == tuple(expected)
    for statistics, parts in expected.items():
        found = row[layout.columns(statistics)]
        assert layout.n_columns(statistics) == len(found)
        np.testing.assert_allclose(found, np.concatenate(parts), rtol=1e-5, atol=1e-6)


def test_where_tracks_have_one_frame_it_is_the_only_pooled_vector(tmp_path: Path) -> None:
    frames = [np.arange(3.0)[None], 2 * np.ones((1, 3))]
    store = make_store(tmp_path, frames, feature="encoder")
    layout = StatisticsLayout.of(store)
    assert layout.choices == ("mean",)
    assert track_statistics(store, np.array([0, 1])).tolist() == [[0, 1, 2], [2, 2, 2]]
    longer = layout.row(np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    assert longer[layout.columns("mean")].tolist() == [1, 1, 1]


def test_facts_of_embeddings_are_left_out_of_other_layouts(tmp_path: Path) -> None:
    for feature in ("mfcc", "encoder"):
        (tmp_path / feature).mkdir()
        layout = StatisticsLayout.of(
            make_store(tmp_path / feature, [np.ones((2, 3))], feature=feature)
        )
        assert ("is_embedding" in layout.as_dict()) == (feature == "encoder")
        assert StatisticsLayout(**layout.as_dict()) == layout


@pytest.mark.parametrize("best", ["mean", "mean_max", "mean_std"])
def test_the_pooling_is_chosen_out_of_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: np.ndarray, best: str
) -> None:
    """The class is in the mean of frames, in one frame of many, or in their spread."""
    set_grids(monkeypatch, {"logistic_regression": GRIDS["logistic_regression"]})
    rng = np.random.default_rng(1)
    signal = np.eye(N_CLASSES, WIDTH)[labels][:, None]
    noise = rng.normal(size=(len(labels), 20, WIDTH))
    tracks = {
        "mean": noise + 0.35 * signal,
        "mean_max": np.minimum(noise, 2.0) + 3 * signal * (np.arange(20) == 0)[:, None],
        "mean_std": noise * (1 - 0.5 * signal) + rng.normal(size=(len(labels), 1, WIDTH)),
    }
    store = make_store(tmp_path, list(tracks[best]), feature="encoder")
    (one,) = run_baselines(store, labels=labels, split=make_split(len(labels))).fitted
    assert one.params["statistics"] == best


def test_grids_of_embeddings_have_pooled_vectors_and_a_linear_svm(tmp_path: Path) -> None:
    layout = StatisticsLayout.of(make_store(tmp_path, [np.ones((2, 3))], feature="encoder"))
    grids = {name: classifiers.grid_of(name, layout, n_train=50) for name in classifiers.GRIDS}
    tuned = {name for name, grid in grids.items() if len({p["statistics"] for p in grid}) == 3}
    assert tuned == {"logistic_regression", "svm", "knn"}
    assert grids["svm_thirds"] == []
    assert {point["gamma_times_columns"] for point in grids["svm"]} == {0.0, 0.1, 0.3, 1.0}
    for name, grid in grids.items():
        if grid:
            middle = grid[classifiers.middle_point(grid)]
            assert middle["statistics"] == "mean", name
    plain = StatisticsLayout(5)
    assert classifiers.LINEAR not in {
        point["gamma_times_columns"] for point in classifiers.grid_of("svm", plain, n_train=50)
    }


def test_every_encoder_is_in_the_table_with_its_own_accuracy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: np.ndarray
) -> None:
    """Encoder B alone carries the class; the chosen set has all classifiers."""
    set_grids(monkeypatch, GRIDS)
    split = make_split(len(labels))
    rng = np.random.default_rng(5)
    stores = {
        "encoder-a": encoder(tmp_path / "a", rng.integers(4, size=len(labels)), seed=1),
        "encoder-b": encoder(tmp_path / "b", labels, seed=2),
        "mfcc": encoder(tmp_path / "m", 0 * labels, seed=3, feature="mfcc"),
    }
    found = fit(stores, labels, split)
    assert [one.name for one in found.fitted] == [
        *GRIDS,
        "logistic_regression (encoder-a)",
        "svm (encoder-a)",
    ]
    for name in ("logistic_regression", "svm"):
        assert test_accuracy(found, name, labels, split) > 0.8
        assert test_accuracy(found, f"{name} (encoder-a)", labels, split) < 0.5
    assert found.as_dict()["other_features"] == ["encoder-a"]
    del stores["encoder-b"]  # a set that is no embedding is chosen: both encoders have their own
    stores = {
        "mfcc": encoder(tmp_path / "n", labels, seed=3, feature="mfcc", strength=30.0),
        "encoder-a": stores["encoder-a"],
        "encoder-c": encoder(tmp_path / "c", labels, seed=4, strength=2.5),
    }
    found = fit(stores, labels, split)
    assert found.fitted[0].features == "mfcc"
    assert [split_name(one.name)[1] for one in found.fitted[len(GRIDS) :]] == [
        *2 * ["encoder-a"],
        *2 * ["encoder-c"],
    ]
    assert test_accuracy(found, "logistic_regression (encoder-c)", labels, split) > 0.7
    assert test_accuracy(found, "svm (encoder-a)", labels, split) < 0.5


def test_of_complementary_encoders_the_joined_one_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: np.ndarray
) -> None:
    set_grids(monkeypatch, GRIDS)
    split = make_split(len(labels))
    a = encoder(tmp_path / "a", labels // 2, seed=1)
    b = encoder(tmp_path / "b", labels % 2, seed=2)
    joined = np.concatenate([a.frames, b.frames], axis=1).reshape(len(labels), 3, -1)
    (tmp_path / "joined").mkdir()
    both = make_store(tmp_path / "joined", list(joined), feature="encoder")
    found = fit({"encoder-a": a, "encoder-b": b, "joined-a+b": both}, labels, split)
    assert max(found.feature_accuracies, key=found.feature_accuracies.__getitem__) == "joined-a+b"
    for name in ("logistic_regression", "svm"):
        together = test_accuracy(found, name, labels, split)
        for part in ("encoder-a", "encoder-b"):
            assert together > test_accuracy(found, f"{name} ({part})", labels, split) + 0.2


def test_test_labels_do_not_affect_further_encoders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: np.ndarray
) -> None:
    set_grids(monkeypatch, {name: GRIDS[name] for name in ("logistic_regression", "svm")})
    split = make_split(len(labels))
    stores = {
        "encoder-a": encoder(tmp_path / "a", labels, seed=1, strength=1.0),
        "encoder-b": encoder(tmp_path / "b", labels, seed=2),
    }
    test = stores["encoder-a"].rows(split.test_ids)
    shuffled = labels.copy()
    shuffled[test] = (labels[test] + 1) % N_CLASSES
    found, again = fit(stores, labels, split), fit(stores, shuffled, split)
    assert found.feature_accuracies == again.feature_accuracies
    assert len(found.fitted) == 4
    for one, other in zip(found.fitted, again.fitted, strict=True):
        assert (one.name, one.params, one.features) == (other.name, other.params, other.features)
        np.testing.assert_array_equal(one.oof_proba, other.oof_proba)
        np.testing.assert_array_equal(one.test_proba, other.test_proba)
        np.testing.assert_array_equal(one.test_by_fold, other.test_by_fold)


def test_a_further_encoders_baseline_is_the_one_it_has_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: np.ndarray
) -> None:
    """With or without the probe's fits, and whatever the other feature sets are."""
    set_grids(monkeypatch, {name: GRIDS[name] for name in ("logistic_regression", "svm")})
    split = make_split(len(labels))
    stores = {
        "encoder-a": encoder(tmp_path / "a", labels, seed=1, strength=1.0),
        "encoder-b": encoder(tmp_path / "b", labels, seed=2),
    }
    found = {one.name: one for one in fit(stores, labels, split).fitted}
    for one in run_baselines(stores["encoder-a"], labels=labels, split=split).fitted:
        other = found[f"{one.name} (encoder-a)"]
        assert one.params == other.params
        np.testing.assert_array_equal(one.oof_proba, other.oof_proba)
        np.testing.assert_array_equal(one.test_proba, other.test_proba)
        np.testing.assert_array_equal(one.test_by_fold, other.test_by_fold)
        assert len(other.test_by_fold) == split.n_folds


def test_further_encoders_are_part_of_the_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: np.ndarray
) -> None:
    set_grids(monkeypatch, GRIDS)

    def one_second_fit(job: FitJob) -> FitResult:
        rng = np.random.default_rng(len(job.x_new))
        return FitResult(rng.normal(size=(len(job.x_new), job.n_classes)), 1.0, None)

    monkeypatch.setattr(grid_search, "fit_and_score", one_second_fit)
    monkeypatch.setattr(baseline_plan, "expected_s", lambda *_, **__: 1.0)
    split = make_split(len(labels))
    stores = {name: encoder(tmp_path / name, labels, seed=1) for name in ("encoder-a", "encoder-b")}
    every = fit(stores, labels, split)
    assert every.left_out == []
    assert len(every.fitted) == len(GRIDS) + 2
    some = fit(stores, labels, split, limit_s=60.0)
    assert some.spent_s <= 60.0
    assert any("settings for lack of time" in line for line in some.left_out)
    few = fit(stores, labels, split, limit_s=30.0)
    left_out = {line.split(" was left out")[0] for line in few.left_out if "was left out" in line}
    assert left_out == {one.name for one in every.fitted} - {one.name for one in few.fitted}
    assert "svm (encoder-b)" in left_out
    # the probes are there already
    fitted = {one.name for one in few.fitted}
    assert {"logistic_regression", "logistic_regression (encoder-b)"} <= fitted


def test_stored_baselines_keep_their_own_feature_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: np.ndarray
) -> None:
    set_grids(monkeypatch, {name: GRIDS[name] for name in ("logistic_regression", "svm")})
    split = make_split(len(labels))
    stores = {
        "mfcc": encoder(tmp_path / "m", labels, seed=1, feature="mfcc", strength=20.0),
        "joined-a+b": encoder(tmp_path / "b", labels, seed=2, strength=1.0),
    }
    found, paths = fit(stores, labels, split), StudyPaths(tmp_path / "study")
    configs: dict[str, dict[str, Any]] = {"mfcc": {"n_mels": 24}, "joined-a+b": {"path": "b.pt"}}
    kinds: Any = {"n_classes": N_CLASSES, "multi_label": False}
    write_baselines(paths, found, split, features_configs=configs, **kinds)
    again = read_baselines(paths, split)
    assert again is not None
    names = [one.name for one in found.fitted]
    assert baseline_names(paths) == [one.name for one in again.fitted] == names
    assert again.as_dict() == found.as_dict()
    test = split.test_ids
    for one, other in zip(found.fitted, again.fitted, strict=True):
        assert (other.features, other.layout) == (one.features, one.layout)
        fitted = read_baseline(paths.fitted_baseline(one.name))
        assert fitted.features == one.features
        assert fitted.features_config == configs[one.features]
        store = stores[one.features]
        at = store.rows(test)
        tracks = [store.frames[store.offsets[i] : store.offsets[i + 1]] for i in at]
        np.testing.assert_allclose(fitted.proba(fitted.rows(tracks)), one.test_proba, atol=1e-6)
    features = [one.features for one in found.fitted]
    assert features == ["mfcc", "mfcc", "joined-a+b", "joined-a+b"]
