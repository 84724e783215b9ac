"""Which baseline a first champion is set against."""

from pathlib import Path

import numpy as np

from chorale.datasets.split import Split
from chorale.search import bank
from chorale.search.bank import Part
from chorale.search.nightly.contest import best_baseline
from chorale.search.paths import StudyPaths
from chorale.search.truth import Truth

TEST, REST = ("a", "b"), ("c", "d", "e", "f")


def test_it_is_the_one_that_was_best_out_of_fold_and_not_on_the_test_tracks(tmp_path: Path) -> None:
    split = Split(TEST, {track: i % 2 for i, track in enumerate(REST)}, "", 2, 0)
    label_of = {track: i % 2 for i, track in enumerate(TEST + REST)}
    truth = Truth(("x", "y"), split, label_of, {track: track for track in label_of})
    paths = StudyPaths(tmp_path)
    assert best_baseline(paths, truth) is None
    named = {"svm": (REST, ()), "knn": (REST[:2], TEST)}  # what each names rightly
    for name, rights in named.items():
        parts = {}
        for part, ids, right in zip(("out_of_fold", "test"), (REST, TEST), rights, strict=True):
            says = [label_of[track] if track in right else 1 - label_of[track] for track in ids]
            parts[part] = Part(ids, np.eye(2, dtype=np.float32)[says])
        bank.write(paths.baseline(name), parts, split=split.hash)
    found = best_baseline(paths, truth)
    assert found is not None
    assert found[0] == "svm"
    assert found[1].argmax(axis=1).tolist() == [1 - label_of[track] for track in TEST]
