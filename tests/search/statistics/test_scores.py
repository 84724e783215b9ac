import json

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support

from chorale.datasets.errors import UserError
from chorale.lightning_models import metrics
from chorale.search.statistics.arrays import Labels, Proba
from chorale.search.statistics.intervals import proportion_interval
from chorale.search.statistics.scores import (
    group_bootstrap,
    mcnemar,
    optimism,
    paired_difference,
    pairwise_comparisons,
    per_class_scores,
    score,
)


def rows(right: list[bool], *, confidence: float = 0.8) -> tuple[Proba, Labels]:
    """Probabilities for two classes, where row i is classified correctly if `right[i]`."""
    labels = np.arange(len(right)) % 2
    predicted = np.where(right, labels, 1 - labels)
    proba = np.full((len(right), 2), 1 - confidence)
    proba[np.arange(len(right)), predicted] = confidence
    return proba, labels


def test_scores_are_those_of_the_metrics() -> None:
    proba, labels = rows([True] * 7 + [False] * 3)
    found = score(proba, labels, np.arange(10))
    assert found.accuracy == 0.7
    assert found.macro_f1 == metrics.macro_f1(proba, labels)
    assert found.log_loss == metrics.log_loss(proba, labels)
    assert found.ece == metrics.expected_calibration_error(proba, labels)
    assert (found.n, found.n_groups) == (10, 10)


def test_the_interval_of_independent_tracks_is_the_exact_binomial_one() -> None:
    proba, labels = rows([True] * 320 + [False] * 80)
    known = binomtest(320, 400).proportion_ci(method="exact")
    assert score(proba, labels, np.arange(400)).ci95 == pytest.approx(known, abs=1e-3)


def test_the_interval_is_wider_where_the_tracks_of_a_group_are_correlated() -> None:
    right = ([True] * 10 + [False] * 10) * 20
    proba, labels = rows(right)
    by_group = score(proba, labels, np.arange(400) // 10).ci95
    by_track = score(proba, labels, np.arange(400)).ci95
    assert by_group[1] - by_group[0] > 2.5 * (by_track[1] - by_track[0])


def test_the_interval_weighs_groups_by_their_tracks() -> None:
    proba, labels = rows([True] * 99 + [False])
    groups = np.array([0] * 99 + [1])
    low, high = score(proba, labels, groups).ci95
    assert low < 0.05
    assert high > 0.99
    proba, labels = rows(([True] * 9 + [False]) * 10)
    groups = np.array([2 * (i // 10) + (i % 10 == 9) for i in range(100)])
    assert score(proba, labels, groups).ci95[0] > 0.7


def test_the_interval_of_a_single_group_is_everything() -> None:
    proba, labels = rows([True] * 9 + [False])
    found = score(proba, labels, np.zeros(10))
    assert found.ci95 == (0, 1)
    other, _ = rows([False] + [True] * 9)
    assert paired_difference(proba, other, labels, np.zeros(10)) == (0, (-1, 1))


@pytest.mark.parametrize(("n_groups", "few"), [(9, True), (10, False)])
def test_few_groups_are_flagged(n_groups: int, few: bool) -> None:
    proba, labels = rows([True, False] * 20)
    assert score(proba, labels, np.arange(40) % n_groups).few_groups is few


def test_scores_are_json_without_nan() -> None:
    proba, labels = rows([False] * 4, confidence=1.0)
    found = score(proba, labels, np.array(list("aabb"))).as_dict()
    text = json.dumps(found, allow_nan=False)
    low, high = json.loads(text)["ci95"]
    assert low == 0
    assert high > 0.5  # two groups without a correct track do not exclude others with some
    assert json.loads(text)["few_groups"] is True
    assert set(found) == {
        "accuracy", "macro_f1", "log_loss", "ece", "n", "n_groups", "ci95", "few_groups",
    }  # fmt: skip


def test_scores_do_not_depend_on_the_order_of_rows_or_the_names_of_groups() -> None:
    rng = np.random.default_rng(3)
    proba, labels = rows((rng.random(60) < 0.7).tolist())
    groups = np.array([i * i % 23 for i in range(60)])
    first = score(proba, labels, groups)
    order = rng.permutation(60)
    named = np.array([f"g{99 - group}" for group in groups[order]])
    assert score(proba[order], labels[order], named).ci95 == pytest.approx(first.ci95)


def test_bootstrap_draws_in_batches_are_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values, groups = np.tile([1.0, 1.0, 0.0], 100)[:, None], np.arange(300)
    at_once = group_bootstrap(values, groups, seed=0, n_boot=100)
    monkeypatch.setattr("chorale.search.statistics.scores.DRAWS_PER_BATCH", 7_000)
    np.testing.assert_array_equal(group_bootstrap(values, groups, seed=0, n_boot=100), at_once)


def test_the_paired_difference_of_identical_probabilities_is_exactly_0() -> None:
    proba, labels = rows([True] * 5 + [False])
    assert paired_difference(proba, proba.copy(), labels, np.arange(6)) == (0, (0, 0))


def test_a_paired_interval_is_narrower_than_an_unpaired_one() -> None:
    rng = np.random.default_rng(0)
    easy = rng.random(300) < 0.6
    a, labels = rows((easy | (np.arange(300) % 10 == 0)).tolist())
    b, _ = rows(easy.tolist())
    groups = np.arange(300) // 5
    difference, (low, high) = paired_difference(a, b, labels, groups)
    assert difference == pytest.approx(metrics.accuracy(a, labels) - metrics.accuracy(b, labels))
    assert 0 < low < difference < high
    one = score(a, labels, groups).ci95
    assert high - low < 0.7 * (one[1] - one[0])
    mirrored, (other_low, other_high) = paired_difference(b, a, labels, groups)
    assert (mirrored, other_low, other_high) == pytest.approx((-difference, -high, -low))


@pytest.mark.parametrize("what", ["nan", "empty", "labels", "groups"])
def test_invalid_predictions_labels_and_groups_are_refused(what: str) -> None:
    proba, labels = rows([True] * 6)
    groups = np.arange(6)
    if what == "nan":
        proba[0, 0] = np.nan
    elif what == "empty":
        proba, labels, groups = proba[:0], labels[:0], groups[:0]
    elif what == "labels":
        labels = labels[:5]
    else:
        groups = groups[:5]
    with pytest.raises(UserError):
        score(proba, labels, groups)
    with pytest.raises(UserError):
        paired_difference(proba, proba, labels, groups)


def test_mcnemars_test_of_independent_tracks_is_the_exact_binomial_one() -> None:
    rng = np.random.default_rng(0)
    a, labels = rows((rng.random(80) < 0.8).tolist())
    b, _ = rows((rng.random(80) < 0.6).tolist())
    found = mcnemar(a, b, labels, np.arange(80))
    right_a, right_b = (p.argmax(axis=1) == labels for p in (a, b))
    first, second = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    assert (found["only_first"], found["only_second"]) == (first, second)
    known = binomtest(first, first + second, 0.5).pvalue
    assert found["mcnemar_p"] == pytest.approx(known)
    assert mcnemar(b, a, labels, np.arange(80))["mcnemar_p"] == pytest.approx(known)
    assert mcnemar(a, a, labels, np.arange(80))["mcnemar_p"] == 1


@pytest.mark.parametrize("icc", [0.0, 0.3])
def test_mcnemars_false_alarms_are_about_5_percent(icc: float) -> None:
    """Treating tracks as independent gave 23 % at a correlation of 0.3."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 10)
    shares = np.array([0.1, 0.1, 0.8])
    alarms = []
    for _ in range(300):
        drawn = rng.standard_gamma(shares * (1 - icc) / max(icc, 1e-9), (20, 3)) + 1e-300
        edges = (drawn / drawn.sum(axis=1, keepdims=True)).cumsum(axis=1)[groups, :2]
        where = (rng.random((200, 1)) > edges).sum(axis=1)
        a, labels = rows((where != 1).tolist())
        b, _ = rows((where != 0).tolist())
        alarms.append(mcnemar(a, b, labels, groups)["mcnemar_p"] < 0.05)
    assert np.mean(alarms) <= 0.07


def test_pairwise_comparisons_are_those_of_each_pair() -> None:
    rng = np.random.default_rng(0)
    proba_of = {}
    for name, skill in (("a", 0.8), ("b", 0.6), ("c", 0.7)):
        proba_of[name], labels = rows((rng.random(90) < skill).tolist())
    groups = np.arange(90) // 3
    found = pairwise_comparisons(proba_of, labels, groups)
    assert [(one["first"], one["second"]) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    for one in found:
        pair = proba_of[one["first"]], proba_of[one["second"]]
        difference, ci95 = paired_difference(*pair, labels, groups)
        assert one["difference"] == pytest.approx(difference)
        assert one["ci95"] == pytest.approx(ci95)
        assert one["mcnemar_p"] == mcnemar(*pair, labels, groups)["mcnemar_p"]
    json.dumps(found, allow_nan=False)
    assert pairwise_comparisons({"a": proba_of["a"]}, labels, groups) == []


def test_per_class_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 100)
    proba = rng.dirichlet(np.ones(4), size=100)
    found = per_class_scores(proba, labels, ["a", "b", "c", "d"])
    known = precision_recall_fscore_support(labels, proba.argmax(axis=1))
    for i, one in enumerate(found.values()):
        ours = (one["precision"], one["recall"], one["f1"], one["n"])
        assert ours == pytest.approx([column[i] for column in known])


def test_undefined_per_class_scores_are_none() -> None:
    proba = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])
    found = per_class_scores(proba, np.array([0, 0]), ["a", "b", "c"])
    assert found["a"] == {"n": 2, "precision": 1, "recall": 0.5, "f1": pytest.approx(2 / 3)}
    assert found["b"] == {"n": 0, "precision": 0, "recall": None, "f1": 0}
    assert found["c"] == {"n": 0, "precision": None, "recall": None, "f1": None}


def test_optimism_is_the_estimated_minus_the_test_accuracy() -> None:
    scored = {"validation": {"accuracy": 0.9}, "out_of_fold": {"accuracy": 0.7}}
    found = optimism({**scored, "test": {"accuracy": 0.75}})
    assert found == pytest.approx({"validation": 0.15, "out_of_fold": -0.05})


def test_the_interval_of_a_share_is_that_of_the_accuracy() -> None:
    proba, labels = rows([True] * 30 + [False] * 10)
    groups = np.arange(40) // 2
    right = proba.argmax(axis=1) == labels
    assert (
        proportion_interval(right.astype(np.float64), groups) == score(proba, labels, groups).ci95
    )
