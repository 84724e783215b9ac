"""Every ensemble combines members that predict several labels, though none has a line for it."""

from pathlib import Path

import numpy as np
import pytest

from chorale.datasets import plugins
from chorale.datasets.errors import UserError
from chorale.lightning_models.metrics import log_loss
from chorale.lightning_models.multi_label_metrics import mean_average_precision
from chorale.search import ensembles
from chorale.search.combining import multi_label
from chorale.search.combining.base import Ensemble, MemberPredictions
from chorale.search.combining.cross_fit import cross_fit
from chorale.search.combining.fitted_file import read_ensemble, write_ensemble
from chorale.search.ensembles import load_ensemble
from chorale.search.statistics.arrays import decisions, from_decisions

N_TRACKS, N_CLASSES = 90, 3
GROUPS = np.array([f"g{i % 15}" for i in range(N_TRACKS)])


@pytest.fixture(params=plugins.plugin_names(ensembles))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def draw(
    seed: int = 0, skills: tuple[float, ...] = (1.0, 1.5, 0.5)
) -> tuple[np.ndarray, np.ndarray]:
    """Members with independent errors, each with its own skill; some labels are rarer."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((N_TRACKS, N_CLASSES)) < [0.5, 0.3, 0.2]).astype(np.uint8)
    signal = (2.0 * labels - 1)[None] * np.array(skills)[:, None, None]
    logits = signal + rng.normal(size=(len(skills), N_TRACKS, N_CLASSES)) - 0.5
    return (1 / (1 + np.exp(-logits))).astype(np.float32), labels


def fitted(kind: str, proba: np.ndarray, labels: np.ndarray) -> tuple[Ensemble, np.ndarray]:
    ensemble = load_ensemble(kind, multi_label=True)
    model = ensemble.fit(MemberPredictions(proba), labels, GROUPS, 0)
    assert model.weights.shape == (len(proba),)
    assert model.weights.sum() == pytest.approx(1)
    return ensemble, ensemble.predict(model, MemberPredictions(proba))


def test_each_label_has_a_probability_of_its_own(kind: str) -> None:
    proba, labels = draw()
    _, found = fitted(kind, proba, labels)
    assert found.shape == (N_TRACKS, N_CLASSES)
    assert ((found >= 0) & (found <= 1)).all()
    assert np.abs(found.sum(axis=1) - 1).max() > 0.2


def test_it_is_better_than_the_mean_member(kind: str) -> None:
    """Cross-fitted, over four draws."""
    gains, losses = [], []
    for seed in range(4):
        proba, labels = draw(seed)
        ensemble = load_ensemble(kind, multi_label=True)
        nested = cross_fit(ensemble, MemberPredictions(proba), labels, GROUPS, seed=0)
        assert nested is not None
        single = np.mean([mean_average_precision(one, labels) for one in proba])
        gains.append(mean_average_precision(nested.proba, labels) - single)
        losses.append(
            log_loss(nested.proba, labels) - np.mean([log_loss(p, labels) for p in proba])
        )
    assert np.mean(gains) > 0.03
    assert np.mean(losses) < 0


def test_the_order_of_tracks_and_members_does_not_matter(kind: str) -> None:
    proba, labels = draw()
    _, found = fitted(kind, proba, labels)
    order, members = np.random.default_rng(0).permutation(N_TRACKS), [2, 0, 1]
    ensemble = load_ensemble(kind, multi_label=True)
    mixed = MemberPredictions(proba[members][:, order])
    again = ensemble.predict(ensemble.fit(mixed, labels[order], GROUPS[order], 0), mixed)
    np.testing.assert_allclose(again, found[order], atol=1e-3)


def test_the_model_is_read_back(kind: str, tmp_path: Path) -> None:
    proba, labels = draw()
    ensemble = load_ensemble(kind, multi_label=True)
    model = ensemble.fit(MemberPredictions(proba), labels, GROUPS, 0)
    write_ensemble(tmp_path / "one.safetensors", model, kind=kind, members=(0, 1, 2))
    _, _, again = read_ensemble(tmp_path / "one.safetensors")
    np.testing.assert_allclose(
        ensemble.predict(again, MemberPredictions(proba)),
        ensemble.predict(model, MemberPredictions(proba)),
        atol=1e-6,
    )


def test_the_best_member_is_that_of_the_highest_map() -> None:
    proba, labels = draw(skills=(0.5, 2.0, 1.0))
    # badly calibrated: of all members it has the highest mAP and the worst log loss
    proba[1] = proba[1] ** 8
    worst = max(range(3), key=lambda m: log_loss(proba[m], labels))
    ensemble = load_ensemble("best_single", multi_label=True)
    assert worst == 1
    assert ensemble.fit(MemberPredictions(proba), labels, GROUPS, 0).weights.tolist() == [0, 1, 0]


def test_large_data_are_fitted_on_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    proba, labels = draw()
    monkeypatch.setattr(multi_label, "MAX_DECISIONS", 120)
    rows = multi_label._drawn(labels, GROUPS, seed=0)
    chosen = set(GROUPS[rows])
    assert len(rows) == np.isin(GROUPS, list(chosen)).sum() <= 60
    assert 2 <= len(chosen) < 15
    assert fitted("weighted_vote", proba, labels)[1].shape == labels.shape


def test_decisions_are_rows_of_two_classes() -> None:
    proba, _ = draw()
    rows = decisions(proba)
    assert rows.shape == (3, N_TRACKS * N_CLASSES, 2)
    np.testing.assert_allclose(rows.sum(axis=-1), 1)
    np.testing.assert_allclose(from_decisions(rows[0], N_CLASSES), proba[0])


def test_a_probability_above_1_is_refused(kind: str) -> None:
    proba, labels = draw()
    proba[0, 0, 0] = 1.5
    with pytest.raises(UserError, match="must be 0 to 1"):
        load_ensemble(kind, multi_label=True).fit(MemberPredictions(proba), labels, GROUPS, 0)
