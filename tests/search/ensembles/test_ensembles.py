"""Contract tests of every ensemble in `search/ensembles`: a new file there is found and tested."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from chorale.datasets import plugins
from chorale.datasets.errors import UserError
from chorale.datasets.seeds import Purpose, random_generator
from chorale.lightning_models.metrics import accuracy, log_loss
from chorale.search import ensembles
from chorale.search.combining.base import (
    EmbeddingView,
    EnsembleModel,
    MemberPredictions,
    best_members,
)
from chorale.search.combining.fitted_file import read_ensemble, write_ensemble
from chorale.search.ensembles import best_single, fusion, greedy, soft_vote, stacking, weighted_vote
from chorale.search.statistics.arrays import Labels, Proba, Weights

N_TRACKS, N_CLASSES = 60, 4
GROUPS = np.array([f"g{i % 9}" for i in range(N_TRACKS)])
WEIGHTING = (
    "best_baseline",
    "best_single",
    "fusion",
    "greedy",
    "hard_vote",
    "soft_vote",
    "stacking",
    "weighted_vote",
)
"""Kinds that learn which members to trust. The contract does not demand it: a median does not."""


@pytest.fixture(params=plugins.plugin_names(ensembles))
def ensemble(request: pytest.FixtureRequest) -> ModuleType:
    return plugins.load_plugin(ensembles, request.param, kind="ensemble")


def draw(seed: int = 0, n_members: int = 5, skill: float = 1.0) -> tuple[Proba, Labels]:
    """Members that are somewhat more accurate than chance, with independent errors."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, N_CLASSES, N_TRACKS)
    logits = rng.normal(size=(n_members, N_TRACKS, N_CLASSES))
    logits += skill * np.eye(N_CLASSES)[labels] * rng.uniform(0.5, 1.5, (n_members, 1, 1))
    proba = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return proba.astype(np.float32), labels


def draw_embedded(seed: int = 0, n_members: int = 4) -> tuple[MemberPredictions, Labels]:
    """Members with embeddings, each fold in a space of its own; the last member has none."""
    proba, labels = draw(seed, n_members)
    rng = np.random.default_rng(seed + 100)
    space = np.array([int(group[1:]) % 3 for group in GROUPS])
    embeddings = []
    for member in range(n_members - 1):
        axes = rng.normal(size=(3, N_CLASSES, 6 + member))
        projected = np.einsum("nc,ncw->nw", np.log(proba[member]), axes[space])
        embeddings.append((projected + rng.normal(size=projected.shape)).astype(np.float32))
    kinds = tuple("abab"[member % 4] for member in range(n_members))
    return MemberPredictions(proba, kinds, (EmbeddingView(space, (*embeddings, None)),)), labels


@pytest.mark.parametrize("n_members", [1, 2, 7])
def test_weights_are_not_negative_and_sum_to_1(ensemble: ModuleType, n_members: int) -> None:
    proba, labels = draw(n_members=n_members)
    weights = ensemble.fit(MemberPredictions(proba), labels, GROUPS, 0).weights
    assert weights.shape == (n_members,)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)


def test_predictions_are_probabilities(ensemble: ModuleType) -> None:
    proba, labels = draw()
    found = ensemble.predict(
        ensemble.fit(MemberPredictions(proba), labels, GROUPS, 0), MemberPredictions(proba)
    )
    assert found.shape == (N_TRACKS, N_CLASSES)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_tracks_does_not_matter(ensemble: ModuleType, seed: int) -> None:
    predictions, labels = draw_embedded(seed)
    order = np.random.default_rng(seed).permutation(N_TRACKS)
    model = ensemble.fit(predictions, labels, GROUPS, 0)
    again = ensemble.fit(predictions.select_tracks(order), labels[order], GROUPS[order], 0)
    np.testing.assert_allclose(again.weights, model.weights, atol=1e-5)
    expected = ensemble.predict(model, predictions)[order]
    np.testing.assert_allclose(
        ensemble.predict(model, predictions.select_tracks(order)), expected, atol=1e-12
    )
    np.testing.assert_allclose(
        ensemble.predict(again, predictions.select_tracks(order)), expected, atol=1e-4
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_members_does_not_matter(ensemble: ModuleType, seed: int) -> None:
    predictions, labels = draw_embedded(seed)
    order = np.random.default_rng(seed).permutation(len(predictions.proba))
    model = ensemble.fit(predictions, labels, GROUPS, 0)
    again = ensemble.fit(predictions.select_members(order), labels, GROUPS, 0)
    np.testing.assert_allclose(again.weights, model.weights[order], atol=1e-5)
    np.testing.assert_allclose(
        ensemble.predict(again, predictions.select_members(order)),
        ensemble.predict(model, predictions),
        atol=1e-4,
    )


def test_unanimous_members_decide(ensemble: ModuleType) -> None:
    proba, labels = draw(n_members=1, skill=8.0)
    predictions = MemberPredictions(np.repeat(proba, 5, axis=0))
    combined = ensemble.predict(ensemble.fit(predictions, labels, GROUPS, 0), predictions)
    np.testing.assert_array_equal(combined.argmax(axis=1), proba[0].argmax(axis=1))


@pytest.mark.parametrize("kind", WEIGHTING)
def test_a_perfect_member_makes_a_perfect_ensemble(kind: str) -> None:
    ensemble = plugins.load_plugin(ensembles, kind, kind="ensemble")
    proba, labels = draw(skill=0.5)
    proba[3] = np.eye(N_CLASSES)[labels]
    model = ensemble.fit(MemberPredictions(proba), labels, GROUPS, 0)
    assert model.weights.argmax() == 3
    assert accuracy(ensemble.predict(model, MemberPredictions(proba)), labels) == 1


@pytest.mark.parametrize("kind", ["best_single", "soft_vote", "hard_vote", "greedy"])
def test_a_perfect_member_gets_all_the_weight(kind: str) -> None:
    proba, labels = draw(skill=0.5)
    proba[3] = np.eye(N_CLASSES)[labels]
    ensemble = plugins.load_plugin(ensembles, kind, kind="ensemble")
    assert ensemble.fit(MemberPredictions(proba), labels, GROUPS, 0).weights.tolist() == [
        0,
        0,
        0,
        1,
        0,
    ]


def test_the_same_rows_give_the_same_model(ensemble: ModuleType) -> None:
    predictions, labels = draw_embedded()
    before = predictions.proba.copy()
    one, other = (ensemble.fit(predictions, labels, GROUPS, 0) for _ in range(2))
    np.testing.assert_array_equal(one.weights, other.weights)
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name])
    np.testing.assert_array_equal(predictions.proba, before)


def test_a_model_is_json_facts_and_numeric_arrays(ensemble: ModuleType) -> None:
    predictions, labels = draw_embedded()
    model = ensemble.fit(predictions, labels, GROUPS, 0)
    assert json.loads(json.dumps(dict(model.facts), allow_nan=False)) == model.facts
    assert all(array.dtype.kind in "fi" for array in model.arrays.values())


def test_a_single_group_can_be_fitted(ensemble: ModuleType) -> None:
    proba, labels = draw()
    model = ensemble.fit(MemberPredictions(proba), labels, np.zeros(N_TRACKS), 0)
    assert np.isfinite(ensemble.predict(model, MemberPredictions(proba))).all()


def test_a_class_without_rows_can_be_predicted(ensemble: ModuleType) -> None:
    proba, labels = draw()
    rows = labels != N_CLASSES - 1
    model = ensemble.fit(MemberPredictions(proba[:, rows]), labels[rows], GROUPS[rows], 0)
    assert ensemble.predict(model, MemberPredictions(proba)).shape == (N_TRACKS, N_CLASSES)


def _broken(kind: str) -> tuple[Proba, Labels, np.ndarray]:
    proba, labels = draw()
    groups = GROUPS
    if kind == "nan":
        proba[1, 2, 3] = np.nan
    elif kind == "infinite":
        proba[1, 2, 3] = np.inf
    elif kind == "logits":
        proba = np.log(proba)
    elif kind == "unnormalised":
        proba = proba * 3
    elif kind == "no members":
        proba = proba[:0]
    elif kind == "no tracks":
        proba, labels, groups = proba[:, :0], labels[:0], groups[:0]
    elif kind == "one member without its axis":
        proba = proba[0]
    elif kind == "labels of other tracks":
        labels = labels[:-1]
    elif kind == "groups of other tracks":
        groups = groups[:-1]
    elif kind == "an unknown class":
        labels = labels + 1
    return proba, labels, groups


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "1 of 1200 predictions are NaN"),
        ("infinite", "1 of 1200 predictions are NaN, infinite"),
        ("logits", "negative"),
        ("unnormalised", "must sum to 1, but are off by up to 2"),
        ("no members", r"but got \(0, 60, 4\)"),
        ("no tracks", r"but got \(5, 0, 4\)"),
        ("one member without its axis", r"\(members, tracks, classes\).*but got \(60, 4\)"),
        ("labels of other tracks", r"for 60 tracks, but there are \(59,\) labels"),
        ("groups of other tracks", r"\(59,\) groups"),
        ("an unknown class", "labels must be 0 to 3, but they range from 1 to 4"),
    ],
)
def test_fit_refuses_invalid_predictions_and_labels(
    ensemble: ModuleType, kind: str, message: str
) -> None:
    proba, labels, groups = _broken(kind)
    with pytest.raises(UserError, match=message):
        ensemble.fit(MemberPredictions(proba), labels, groups, 0)


@pytest.mark.parametrize("kind", ["nan", "no members", "no tracks", "one member without its axis"])
def test_predict_refuses_invalid_predictions(ensemble: ModuleType, kind: str) -> None:
    proba, labels = draw()
    model = ensemble.fit(MemberPredictions(proba), labels, GROUPS, 0)
    with pytest.raises(UserError):
        ensemble.predict(model, MemberPredictions(_broken(kind)[0]))


def test_predict_refuses_another_number_of_members(ensemble: ModuleType) -> None:
    proba, labels = draw()
    model = ensemble.fit(MemberPredictions(proba), labels, GROUPS, 0)
    with pytest.raises(UserError, match=r"an ensemble of [45] members .* fit it again"):
        ensemble.predict(model, MemberPredictions(proba[:4]))


def test_best_single_breaks_ties_of_accuracy_by_log_loss() -> None:
    labels = np.array([0, 1])
    unsure = np.array([[0.6, 0.4], [0.4, 0.6]])
    confident = np.array([[0.9, 0.1], [0.1, 0.9]])
    wrong = np.array([[0.01, 0.99], [0.01, 0.99]])
    weights = best_single.fit(
        MemberPredictions(np.stack([wrong, unsure, confident])), labels, np.array(["a", "b"]), 0
    ).weights
    assert weights.tolist() == [0, 0, 1]


def test_soft_vote_leaves_out_a_harmful_member() -> None:
    proba, labels = draw(n_members=6, skill=2.0)
    proba[2] = np.roll(np.eye(N_CLASSES)[labels], 1, axis=1)
    weights = soft_vote.fit(MemberPredictions(proba), labels, GROUPS, 0).weights
    assert weights[2] == 0
    assert np.unique(weights[weights > 0]).size == 1


def test_soft_vote_takes_the_top_k_with_the_best_mean() -> None:
    proba, labels = draw(n_members=6)
    weights = soft_vote.fit(MemberPredictions(proba), labels, GROUPS, 0).weights
    ranked = sorted(
        range(6), key=lambda m: (-accuracy(proba[m], labels), log_loss(proba[m], labels))
    )
    means = [proba[ranked[:k]].mean(axis=0) for k in range(1, 7)]
    best = max(accuracy(mean, labels) for mean in means)
    assert (
        accuracy(soft_vote.predict(EnsembleModel(weights), MemberPredictions(proba)), labels)
        == best
    )
    k = int((weights > 0).sum())
    assert set(np.flatnonzero(weights)) == set(ranked[:k])


def test_soft_vote_prefers_the_larger_k_among_equals() -> None:
    proba, labels = draw(n_members=1)
    same = np.repeat(proba, 3, axis=0)
    assert soft_vote.fit(
        MemberPredictions(same), labels, GROUPS, 0
    ).weights.tolist() == pytest.approx([1 / 3] * 3)


def test_soft_vote_beats_its_members_where_their_errors_are_independent() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, N_CLASSES, 600)
    proba = np.full((7, 600, N_CLASSES), 0.1)
    for member in proba:
        named = np.where(rng.random(600) < 0.6, labels, rng.integers(0, N_CLASSES, 600))
        member[np.arange(600), named] = 0.7
    weights = soft_vote.fit(MemberPredictions(proba), labels, np.arange(600), 0).weights
    best = max(accuracy(member, labels) for member in proba)
    assert (
        accuracy(soft_vote.predict(EnsembleModel(weights), MemberPredictions(proba)), labels)
        > best + 0.1
    )


@pytest.mark.parametrize("shrinkage", [0.1, 1.0])
def test_weighted_vote_agrees_with_slsqp(shrinkage: float) -> None:
    proba, labels = draw(n_members=4)
    true = proba[:, np.arange(N_TRACKS), labels].T.astype(np.float64)

    def loss(w: Weights) -> float:
        return float(-np.mean(np.log(true @ w)) - shrinkage * np.mean(np.log(w)))

    known = minimize(
        loss, np.full(4, 0.25), method="SLSQP", bounds=[(1e-6, 1)] * 4,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, options={"ftol": 1e-12},
    )  # fmt: skip
    found = weighted_vote.simplex_weights(true, shrinkage=shrinkage)
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found, known.x, atol=1e-3)
    assert loss(found / found.sum()) <= known.fun + 1e-9


def test_weighted_vote_is_uniform_with_strong_shrinkage() -> None:
    proba, labels = draw(n_members=4)
    true = proba[:, np.arange(N_TRACKS), labels].T.astype(np.float64)
    np.testing.assert_allclose(weighted_vote.simplex_weights(true, shrinkage=1e6), 0.25, atol=1e-4)


def test_greedy_adds_the_member_that_lowers_the_loss_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proba, labels = draw(n_members=5)
    monkeypatch.setattr(greedy, "N_BAGS", 1)
    monkeypatch.setattr(greedy, "N_SELECTIONS", 6)
    groups = np.arange(N_TRACKS)
    rng = random_generator(0, Purpose.GREEDY)
    rows = np.repeat(groups, rng.multinomial(N_TRACKS, np.full(N_TRACKS, 1 / N_TRACKS)))
    chosen: list[int] = []
    for _ in range(6):
        means = [proba[[*chosen, m]][:, rows].mean(axis=0) for m in range(5)]
        chosen.append(int(np.argmin([log_loss(mean, labels[rows]) for mean in means])))
    found = greedy.fit(MemberPredictions(proba), labels, groups, 0).weights
    np.testing.assert_allclose(found, np.bincount(chosen, minlength=5) / 6)


def test_greedy_prefers_another_architecture_among_equals() -> None:
    proba, labels = draw(n_members=2)
    proba = proba[best_members(proba, labels, 2)]
    # member 0 is first; 1 and 2 are equal, and 2 is of another architecture than 0
    predictions = MemberPredictions(proba[[0, 1, 1]], ("cnn", "cnn", "recurrent"))
    weights = greedy.fit(predictions, labels, np.zeros(N_TRACKS), 0).weights
    assert weights[0] > 0
    assert weights[2] > 0
    assert weights[1] == 0


def test_greedy_repeats_a_chosen_member_among_equals() -> None:
    proba, labels = draw(n_members=1)
    weights = greedy.fit(MemberPredictions(np.repeat(proba, 3, axis=0)), labels, GROUPS, 0).weights
    assert sorted(weights) == [0, 0, 1]


def test_stacking_of_one_member_is_logistic_regression() -> None:
    """Two classes, one member: the same predictions as scikit-learn's."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, 400)
    labels = (rng.random(400) < p**2).astype(np.int64)
    proba = np.stack([1 - p, p], axis=1)[None]
    strength = 1e-6
    params = stacking.fit_logistic(np.log(proba), labels, strength=strength, tolerance=1e-9)
    predictions = stacking.predict(_stacked(params), MemberPredictions(proba))
    columns = np.log(proba[0])
    known = LogisticRegression(C=1e6, max_iter=5000, tol=1e-10).fit(columns, labels)
    np.testing.assert_allclose(predictions, known.predict_proba(columns), atol=2e-3)


def _stacked(params: np.ndarray) -> EnsembleModel:
    slopes = 1 + params[0] + params[1:3][None]
    return EnsembleModel(np.ones(1), {"slopes": slopes, "intercepts": params[3:]})


def test_stacking_ends_at_a_zero_gradient_of_its_loss() -> None:
    proba, labels = draw(n_members=3)
    logs = np.log(proba.astype(np.float64))
    best = stacking.fit_logistic(logs, labels, strength=0.1, tolerance=1e-9)

    def loss(params: np.ndarray) -> float:
        shared, own, intercepts = np.split(params, [3, 3 + 3 * N_CLASSES])
        slopes = 1 / 3 + shared[:, None] + own.reshape(3, N_CLASSES)
        scores = np.einsum("mnc,mc->nc", logs, slopes) + intercepts
        log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return float(-log_p[np.arange(N_TRACKS), labels].mean() + 0.05 * params @ params)

    steps = np.eye(len(best)) * 1e-4
    slopes = [(loss(best + step) - loss(best - step)) / 2e-4 for step in steps]
    np.testing.assert_allclose(slopes, 0, atol=1e-5)


def test_stacking_with_a_strong_penalty_is_the_geometric_mean() -> None:
    proba, labels = draw(n_members=3)
    params = stacking.fit_logistic(np.log(proba), labels, strength=1e9)
    np.testing.assert_allclose(params, 0, atol=1e-6)


def test_stacking_beats_weighted_vote_where_members_permute_classes() -> None:
    proba, labels = draw(seed=5, n_members=3, skill=3.0)
    proba[1:] = np.roll(proba[1:], 1, axis=2)
    predictions = MemberPredictions(proba)
    voted = weighted_vote.predict(weighted_vote.fit(predictions, labels, GROUPS, 0), predictions)
    stacked = stacking.predict(stacking.fit(predictions, labels, GROUPS, 0), predictions)
    assert log_loss(stacked, labels) < log_loss(voted, labels)


def test_fusion_uses_probabilities_only_where_embeddings_are_missing_or_of_an_unknown_space() -> (
    None
):
    predictions, labels = draw_embedded()
    model = fusion.fit(predictions, labels, GROUPS, 0)
    blind = fusion.predict(model, MemberPredictions(predictions.proba))
    assert np.isfinite(blind).all()
    space = np.full(N_TRACKS, 99)
    elsewhere = MemberPredictions(
        predictions.proba,
        predictions.kinds,
        (EmbeddingView(space, predictions.views[0].embeddings),),
    )
    np.testing.assert_array_equal(fusion.predict(model, elsewhere), blind)


def test_a_model_survives_writing_and_reading(ensemble: ModuleType, tmp_path: Path) -> None:
    predictions, labels = draw_embedded()
    model = ensemble.fit(predictions, labels, GROUPS, 0)
    write_ensemble(tmp_path / "m.safetensors", model, kind="any", members=(4, 2, 7, 1))
    kind, members, again = read_ensemble(tmp_path / "m.safetensors")
    assert (kind, members, again.facts) == ("any", (4, 2, 7, 1), model.facts)
    np.testing.assert_array_equal(
        ensemble.predict(again, predictions), ensemble.predict(model, predictions)
    )


def test_the_error_for_a_damaged_or_missing_model_says_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(b"no")
    for name in ("m", "none"):
        with pytest.raises(UserError, match="chorale ensemble"):
            read_ensemble(tmp_path / f"{name}.safetensors")
