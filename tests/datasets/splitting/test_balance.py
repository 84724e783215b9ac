import numpy as np
import pytest

from chorale.datasets.splitting.balance import balanced_order, class_weights, smote

LABELS = np.array([0] * 30 + [1] * 9 + [3] * 2 + [4])  # no row of class 2


def table(seed: int = 0) -> np.ndarray:
    """A cloud for each class; the second column is a thousand times as wide as the first."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (len(LABELS), 4)) + 20 * LABELS[:, None]
    columns = np.array([1, 1000, 0.01, 0])
    return np.asarray(x * columns, np.float32)


def test_class_weights_sum_equally_per_class_with_mean_1() -> None:
    weights = class_weights(LABELS, 6)
    assert weights.dtype == np.float32
    sums = np.bincount(LABELS, weights=weights[LABELS], minlength=6)
    np.testing.assert_allclose(sums[[0, 1, 3, 4]], len(LABELS) / 4, rtol=1e-5)
    assert weights[LABELS].mean() == pytest.approx(1)
    assert weights[[2, 5]].tolist() == [0, 0]


def test_weights_of_balanced_classes_are_1() -> None:
    assert class_weights(np.array([0, 1, 2, 0, 1, 2]), 3).tolist() == [1, 1, 1]


@pytest.mark.parametrize("n", [4, 40, 43, 400])
def test_balanced_order_has_equal_classes_and_repeats_rows_evenly(n: int) -> None:
    order = balanced_order(LABELS, n=n, rng=np.random.default_rng(0))
    counts = np.bincount(LABELS[order], minlength=5)[[0, 1, 3, 4]]
    assert len(order) == counts.sum() == n
    assert counts.max() - counts.min() <= 1
    for label in (0, 1, 3, 4):
        times = np.bincount(order, minlength=len(LABELS))[label == LABELS]
        assert times.max() - times.min() <= 1


def test_balanced_order_is_shuffled_and_seeded() -> None:
    first, again, other = (
        balanced_order(LABELS, n=40, rng=np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert first.tolist() == again.tolist() != other.tolist()
    assert len(np.unique(LABELS[first[:10]])) > 1


def test_smote_makes_all_classes_as_large_as_the_largest() -> None:
    made, labels = smote(table(), LABELS, seed=0)
    assert made.dtype == np.float32
    assert np.bincount(labels, minlength=5).tolist() == [0, 21, 0, 28, 29]


def test_smote_interpolates_between_two_rows_of_a_class() -> None:
    x = table().astype(np.float64)
    made, labels = smote(table(), LABELS, seed=0)
    for row, label in zip(made.astype(np.float64), labels, strict=True):
        members = x[label == LABELS]
        a, b = (members[i] for i in np.meshgrid(*[range(len(members))] * 2))
        ab, ap = b - a, row - a
        share = (ap * ab).sum(-1) / np.maximum((ab**2).sum(-1), 1e-12)
        scale = np.array([1, 1000, 0.01, 1])
        off = np.abs((ap - share[..., None].clip(0, 1) * ab) / scale).max(-1)
        assert off.min() < 1e-3


def test_smote_repeats_the_only_row_of_a_class() -> None:
    made, labels = smote(table(), LABELS, seed=0)
    assert (made[labels == 4] == table()[-1]).all()


def test_smote_standardises_columns_for_the_neighbour_search() -> None:
    rng = np.random.default_rng(0)
    # two groups of a rare class differ in the first column; noise in the second is far greater
    rare = np.concatenate([np.zeros(10), np.ones(10)])
    few = np.stack([rare, 1e6 * rng.normal(size=20)], axis=1)
    many = np.stack([rng.uniform(-0.1, 0.1, 99), 1e6 * rng.normal(size=99)], axis=1)
    x = np.concatenate([many, few]).astype(np.float32)
    made, _ = smote(x, np.repeat([0, 1], [99, 20]), seed=0)
    between = (made[:, 0] > 0.01) & (made[:, 0] < 0.99)
    assert between.mean() < 0.2


def test_smote_depends_on_the_seed() -> None:
    first, again, other = (smote(table(), LABELS, seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_smote_does_not_use_numpys_global_generator() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    smote(table(), LABELS, 0)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


@pytest.mark.parametrize("labels", [np.zeros(len(LABELS), np.int64), np.arange(len(LABELS))])
def test_smote_makes_nothing_for_balanced_classes(labels: np.ndarray) -> None:
    made, new = smote(table(), labels, 0)
    assert made.shape == (0, 4)
    assert new.shape == (0,)
