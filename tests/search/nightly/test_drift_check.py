"""The drift check and the gate on simulated nights with known truth, and what is compared."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from chorale.datasets.atomic import write_json
from chorale.datasets.splitting.split import Split
from chorale.lightning_models.metrics import correct
from chorale.search.champion.registry.gate import Gate
from chorale.search.evaluation.members import read_member
from chorale.search.ledger.baseline_predictions import (
    BaselinePredictions,
    write_baseline_predictions,
)
from chorale.search.ledger.ground_truth import GroundTruth, read_ground_truth
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.stages import SEARCH, Job
from chorale.search.nightly import drift_check, held_out
from chorale.search.nightly.changes import Snapshot
from chorale.search.nightly.earlier_nights import StudyMember
from chorale.search.paths import StudyPaths
from tests.search.further_seeds import add_seed


@pytest.fixture(scope="module")
def bench(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("bench_nightly_power")


def test_a_drop_of_10_points_is_detected_in_half_of_the_nights_and_of_20_in_all(
    bench: ModuleType,
) -> None:
    nights = bench.Nights(400, 60, icc=0.2, moves=0.02)
    ten, _ = bench.alarms(nights, drop=0.1, n_nights=40, seed=0)
    twenty, _ = bench.alarms(nights, drop=0.2, n_nights=20, seed=0)
    assert ten >= 20
    assert twenty >= 19


def test_data_without_drift_gives_no_alarm(bench: ModuleType) -> None:
    """Although the repeated finalist was the best of six equals, so it regresses to the mean."""
    nights = bench.Nights(400, 60, icc=0.2, moves=0.02)
    moved, drops = bench.alarms(nights, drop=0.0, n_nights=100, seed=0)
    assert drops.mean() > 0.005
    assert moved <= 2  # 0.5 % of 100 nights; three or more have a probability of 1.4 %


def test_a_drop_in_map_is_detected_and_seeds_alone_give_no_alarm(bench: ModuleType) -> None:
    """Half of the skill are about 24 points of mAP."""
    nights = bench.LabelNights(bench.LabelSetting(20, n_labels=10, skill=1.5))
    without, drops = bench.label_alarms(nights, weaker=0.0, n_nights=60, seed=0)
    assert abs(drops.mean()) < 0.02
    assert without <= 2  # 0.5 % of 60 nights; three or more have a probability of 0.3 %
    moved, drops = bench.label_alarms(nights, weaker=0.5, n_nights=12, seed=0)
    assert drops.mean() > 0.15
    assert moved >= 10


def test_a_drop_in_map_that_seeds_alone_may_cause_is_no_drift() -> None:
    """12 of 400 simulated nights of 60 groups gave an alarm with the margin of accuracies."""
    then, groups = np.full(60, 0.9), np.arange(60)
    found = {
        margin: drift_check.assess_drop(
            then, then - 0.015, groups, source="s/1", confidence=0.995, margin=margin
        ).moved
        for margin in (drift_check.SEED_MARGIN, drift_check.MAP_SEED_MARGIN)
    }
    assert found == {drift_check.SEED_MARGIN: True, drift_check.MAP_SEED_MARGIN: False}


def test_the_gate_keeps_its_false_promotion_rate(bench: ModuleType) -> None:
    nights = bench.Nights(150, 20, icc=0.2)
    promoted = bench.promotions(nights, gain=0.0, n_nights=150, seed=0, gate=Gate())
    assert promoted <= 14  # 5 % of 150 are 7.5; 15 and more have a probability of 1 %


def test_the_reason_states_the_smallest_detectable_drop() -> None:
    rng = np.random.default_rng(0)
    then = (rng.random(300) < 0.8).astype(np.float64)
    now = np.where(rng.random(300) < 0.1, 1 - then, then)
    found = drift_check.assess_drop(then, now, np.arange(300), source="s/1", confidence=0.995)
    assert not found.moved
    assert found.seen_from is not None
    assert f"up to {100 * found.seen_from:.1f} points" in found.reason
    lost = np.flatnonzero(now == 1)[: int(np.ceil(300 * (found.seen_from + 0.02)))]
    now[lost] = 0.0
    assert drift_check.assess_drop(then, now, np.arange(300), source="s/1", confidence=0.995).moved


def test_too_few_groups_to_detect_a_drop_are_reported() -> None:
    then, now = np.ones(40), np.zeros(40)
    found = drift_check.assess_drop(then, now, np.arange(40) % 4, source="s/1", confidence=0.995)
    assert (found.moved, found.seen_from) == (False, None)
    assert "4 groups are too few to detect any drop" in found.reason


@pytest.mark.parametrize("known", [True, False])
def test_a_recording_that_moved_to_another_labels_folder_is_matched_by_content(known: bool) -> None:
    then, now = ("low/a", "low/b"), ("high/a", "low/b")
    before = Snapshot({"low/a": ("1", "low", "x"), "low/b": ("2", "low", "y")})
    after = Snapshot({"high/a": ("1", "high", "x"), "low/b": ("2", "low", "y")})
    pairs = held_out.same_recordings(then, now, before if known else None, after)
    assert pairs == ([("low/a", "high/a"), ("low/b", "low/b")] if known else [("low/b", "low/b")])


def _night_with_baseline(
    root: Path, features: str, correct: list[bool], *, name: str = "svm"
) -> held_out.Side:
    """A study of eight development tracks with out-of-fold predictions of a baseline."""
    paths = StudyPaths(root)
    development = tuple(f"t{i}" for i in range(8))
    fold_of = {track: i % 2 for i, track in enumerate(development)}
    split = Split(("test",), fold_of, "by track", n_folds=2, seed=0)
    truth = GroundTruth(
        ("a", "b"), split, dict.fromkeys(development, 0), {t: t for t in development}
    )
    proba = np.array([[0.9, 0.1] if one else [0.1, 0.9] for one in correct], np.float32)
    stored = BaselinePredictions(proba, proba[: len(split.test_ids)])
    write_baseline_predictions(paths.baseline(name), stored, split)
    found = {"baselines": {name: {}, "knn": {}}, "baselines_made": {"features": features}}
    write_json(paths.report_json, found)
    return held_out.NightStudy(root.name, paths), truth


def test_a_champion_without_trials_is_compared_by_its_baseline(tmp_path: Path) -> None:
    origin = StudyMember("then", "svm")
    then = _night_with_baseline(tmp_path / "then", "mel", [True] * 8)
    now = _night_with_baseline(tmp_path / "now", "mel", [True] * 4 + [False] * 4)
    found = held_out.of_baseline(origin, "svm", then, now)
    assert isinstance(found, tuple)
    before, after = found
    n_correct = [int(correct(one.proba, one.labels).sum()) for one in found]
    assert (n_correct, before.n_rivals, after.tracks) == ([8, 4], 2, before.tracks)
    other = _night_with_baseline(tmp_path / "other", "chroma", [True] * 8)
    assert "used the features mel, and now chroma" in str(
        held_out.of_baseline(origin, "svm", then, other)
    )
    now[0].paths.baseline("svm").unlink()
    assert "was not fitted tonight" in str(held_out.of_baseline(origin, "svm", then, now))
    assert "are no longer kept" in str(held_out.of_baseline(origin, "svm", now, then))


def test_a_baseline_is_found_again_by_its_features_where_another_set_is_chosen(
    tmp_path: Path,
) -> None:
    """svm was on mel, which was chosen for all; then it has the name "svm (mel)", or back."""
    chosen = _night_with_baseline(tmp_path / "chosen", "mel", [True] * 8)
    other = _night_with_baseline(
        tmp_path / "other", "chroma", [True] * 4 + [False] * 4, name="svm (mel)"
    )
    origin = StudyMember("then", "svm")
    found = held_out.of_baseline(origin, "svm", chosen, other)
    assert not isinstance(found, str)
    assert found[1].proba.argmax(axis=1).tolist() != found[0].proba.argmax(axis=1).tolist()
    back = held_out.of_baseline(origin, "svm (mel)", other, chosen)
    assert not isinstance(back, str)
    np.testing.assert_array_equal(back[1].proba, found[0].proba)
    third = _night_with_baseline(tmp_path / "third", "chroma", [True] * 8)
    assert "was not fitted tonight" in str(held_out.of_baseline(origin, "svm (mel)", other, third))


def _labelled_night(root: Path, shuffled: float, names: tuple[str, ...]) -> held_out.Side:
    """A study of 60 groups of five tracks of several labels, with predictions of the baseline svm.

    A share `shuffled` of the groups has the labels of other tracks.
    """
    rng = np.random.default_rng(0)
    present = rng.random((300, 3)) < 0.4
    proba = 1 / (1 + np.exp(-(4 * present - 2 + rng.standard_normal((300, 3)))))
    wrong = np.repeat(np.arange(60) < 60 * shuffled, 5)
    present[wrong] = rng.permutation(present[wrong])
    tracks = tuple(f"t{i:03}" for i in range(300))
    split = Split(("test",), {t: i % 2 for i, t in enumerate(tracks)}, "by group", 2, 0)
    label_of = {
        t: tuple(np.flatnonzero(row).tolist()) for t, row in zip(tracks, present, strict=True)
    }
    groups = {t: f"g{i // 5}" for i, t in enumerate(tracks)}
    truth = GroundTruth(names, split, label_of, groups)
    paths = StudyPaths(root)
    stored = BaselinePredictions(proba.astype(np.float32), proba[:1].astype(np.float32))
    write_baseline_predictions(paths.baseline("svm"), stored, split, multi_label=True)
    found = {"baselines": {"svm": {}}, "baselines_made": {"features": "mel"}}
    write_json(paths.report_json, found)
    return held_out.NightStudy(root.name, paths), truth


def _assessed(then: held_out.Side, now: held_out.Side) -> drift_check.DriftCheck | str:
    pair = held_out.of_baseline(StudyMember("then", "svm"), "svm", then, now)
    assert isinstance(pair, tuple)
    tracks = [(track, track) for track in pair[1].tracks]
    found = drift_check._paired_values(*pair, tracks, now[1].groups(pair[1].tracks))
    if isinstance(found, str):
        return found
    return drift_check.assess_drop(*found, source="then/svm", confidence=0.995, n_tracks=300)


def test_several_labels_are_compared_by_the_map_of_those_that_both_nights_have(
    tmp_path: Path,
) -> None:
    then = _labelled_night(tmp_path / "then", 0.0, ("bass", "drums", "piano"))
    same = _assessed(then, _labelled_night(tmp_path / "same", 0.0, ("bass", "drums", "piano")))
    assert isinstance(same, drift_check.DriftCheck)
    assert (same.moved, same.n_tracks) == (False, 300)
    assert same.then == pytest.approx(same.now)
    worse = _assessed(then, _labelled_night(tmp_path / "worse", 0.3, ("bass", "drums", "piano")))
    assert isinstance(worse, drift_check.DriftCheck)
    assert worse.moved
    other = _assessed(then, _labelled_night(tmp_path / "other", 0.0, ("x", "drums", "z")))
    assert isinstance(other, drift_check.DriftCheck)
    assert other.then == pytest.approx(other.now)
    assert other.then != pytest.approx(same.then)  # of one label instead of three
    none = _assessed(then, _labelled_night(tmp_path / "none", 0.0, ("x", "y", "z")))
    assert none == "no drift check: none of the labels then exists tonight"


def test_a_night_of_several_labels_is_not_compared_with_one_of_classes(tmp_path: Path) -> None:
    now = _labelled_night(tmp_path / "now", 0.0, ("bass", "drums", "piano"))
    tracks = now[1].split.development_ids
    one_class = held_out.HeldOut(tracks, np.ones((300, 1)), np.zeros(300, np.int64), ("bass",), 1)
    several = held_out.HeldOut(tracks, np.ones((300, 3)), now[1].labels(tracks), ("a", "b", "c"), 1)
    pairs = [(track, track) for track in tracks]
    found = drift_check._paired_values(one_class, several, pairs, np.arange(300))
    assert found == "no drift check: tracks had one class, and now several labels"


def test_a_seed_that_time_ended_is_not_compared(
    load_benchmark: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    """Of the second seed, all folds of the night before are complete, and only two of tonight's."""
    make = load_benchmark("bench_ensembles").make_study
    sides, sizes = [], {"n_members": 1, "n_tracks": 112, "n_classes": 4, "width": 8}
    for name, n_complete in (("before", 5), ("tonight", 2)):
        sweep = make(tmp_path, name=name, **sizes)
        add_seed(sweep.paths, {0: n_complete})
        truth = read_ground_truth(sweep.paths)
        assert truth is not None
        sides.append((held_out.NightStudy(name, sweep.paths), truth))
    with Ledger(sweep.ledger_url) as ledger:
        facts = {"architecture": "cnn", "origin": "best, from before/0"}
        ledger.record("tonight", SEARCH, Row("0", "COMPLETE", facts=facts))
        found = held_out.of_trial(StudyMember("before", 0), 0, sides[0], sides[1], ledger)
    assert not isinstance(found, str)
    for side, (night, truth) in zip(found, sides, strict=True):
        first = read_member(night.paths, truth.split, 0, [Job(0, fold, 0) for fold in range(5)])
        at = {track: i for i, track in enumerate(truth.split.development_ids)}
        np.testing.assert_array_equal(side.proba, first.out_of_fold[[at[t] for t in side.tracks]])
