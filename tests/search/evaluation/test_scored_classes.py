from pathlib import Path

import numpy as np
import pytest

from chorale.datasets.atomic import write_json
from chorale.datasets.label_sets import UNKNOWN
from chorale.datasets.splitting.split import Split
from chorale.lightning_models.multi_label_metrics import main_score
from chorale.search.evaluation.label_thresholds import score_parts
from chorale.search.evaluation.members import score_rows
from chorale.search.evaluation.warnings import data_warnings
from chorale.search.ledger.ground_truth import (
    GroundTruth,
    read_ground_truth,
    write_ground_truth,
)
from chorale.search.paths import StudyPaths


def truth() -> GroundTruth:
    """Two scored classes in two folds and the test set, and one that is only trained on."""
    split = Split(("a0", "b0"), {"a1": 0, "a2": 1, "b1": 0, "b2": 1}, "", 2, 0, {"c0": 2})
    tracks = (*split.test_ids, *split.trained_ids)
    label_of = {track: "abc".index(track[0]) for track in tracks}
    return GroundTruth(("a", "b", "c"), split, label_of, {track: track for track in tracks})


def test_classes_that_are_only_trained_on_do_not_count_in_macro_f1() -> None:
    one = truth()
    assert one.scored_classes.tolist() == [True, True, False]
    proba = np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])  # a0 is right, b0 is taken for c
    found = score_rows(proba, one.split.test_ids, one)
    assert found["accuracy"] == 0.5
    assert found["macro_f1"] == pytest.approx(0.5)  # 1 for a and 0 for b; a third for c is no 0


def test_the_warnings_name_them_once() -> None:
    lines = data_warnings([], truth())
    assert lines == [
        "1 class is only trained on, so no score says how well a model knows them: 'c'"
    ]


def test_a_class_that_begins_late_is_named_in_a_split_by_time() -> None:
    split = Split(("a0", "b0"), {"a1": 0, "b1": 0, "a2": 1}, "", 2, 0, {"a3": 2}, by_time=True)
    tracks = (*split.test_ids, *split.trained_ids)
    one = GroundTruth(
        ("a", "b"), split, {t: "ab".index(t[0]) for t in tracks}, {t: t for t in tracks}
    )
    assert data_warnings([], one) == [
        "class 'b' begins after the first tracks, so the networks of fold 0, 1 were not trained on "
        "it"
    ]


def test_the_warnings_of_several_labels_speak_of_labels() -> None:
    split = Split(("t0", "t1"), {"t2": 0, "t3": 1, "t4": 0}, "", 2, 0)
    label_of = {"t0": (0,), "t1": (0, 1), "t2": (0, 1), "t3": (0,), "t4": (0, 2)}
    one = GroundTruth(("a", "b", "c"), split, label_of, {track: track for track in label_of})
    assert data_warnings([], one) == [
        "label 'b' is in fold 0 only, so the networks that predict it out of fold were not trained "
        "on it",
        "label 'c' is in fold 0 only, so the networks that predict it out of fold were not trained "
        "on it",
        "label 'c' has no test track: its test score is unknown",
    ]


def test_labels_that_are_only_trained_on_are_in_no_score(tmp_path: Path) -> None:
    """`c` is on both sides, as its tracks have other labels."""
    ids = ("t0", "t1", "t2", "t3", "t4", "t5")
    split = Split(("t0", "t1"), {"t2": 0, "t3": 1, "t4": 0, "t5": 1}, "", 2, 0)
    label_of = {"t0": (0, 2), "t1": (1,), "t2": (0,), "t3": (0, 1), "t4": (1, 2), "t5": (0, 1, 2)}
    one = GroundTruth(("a", "b", "c"), split, label_of, {track: track for track in ids}, (2,))
    assert one.scored_classes.tolist() == [True, True, False]
    assert (one.labels(ids)[:, 2] == UNKNOWN).all()
    assert (one.labels(ids)[:, :2] >= 0).all()
    rng = np.random.default_rng(0)
    proba = rng.random((4, 3))
    other = proba.copy()
    other[:, 2] = rng.random(4)
    parts = [score_parts({"oof": (p, ids[2:])}, p, one, seed=0)["oof"] for p in (proba, other)]
    assert parts[0] == parts[1]
    assert parts[0]["mAP"] == main_score(proba[:, :2], one.labels(ids[2:])[:, :2])
    assert data_warnings([], one) == [
        "1 label is only trained on, so no score says how well a model knows them: 'c'"
    ]
    paths = StudyPaths(tmp_path)
    write_json(paths.split_json, split.to_json())
    write_ground_truth(paths, one)
    assert read_ground_truth(paths) == one


def test_unknown_labels_are_kept_with_the_ground_truth(tmp_path: Path) -> None:
    split = Split(("t0", "t1"), {"t2": 0, "t3": 1}, "", 2, 0)
    label_of = {"t0": (0,), "t1": (0,), "t2": (0, 1), "t3": (1,)}
    unknown = {"t1": (1,), "t3": (0,)}
    groups = {track: track for track in label_of}
    one = GroundTruth(("a", "b"), split, label_of, groups, unknown_of=unknown)
    labels = one.labels(["t1", "t3", "t2"])
    assert labels.tolist() == [[1, UNKNOWN], [UNKNOWN, 1], [1, 1]]
    paths = StudyPaths(tmp_path)
    write_json(paths.split_json, split.to_json())
    write_ground_truth(paths, one)
    assert read_ground_truth(paths) == one
    lines = data_warnings([], one)
    assert lines[0] == (
        "of 8 pairs of a track and a label 2 are unknown: all scores are of the others"
    )
    assert "label 'a' is known to be absent from no test track" in lines[2]
