"""The comparison of studies: paired differences, settings that differ, curves, the page."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from chorale.datasets.splitting.split import Split
from chorale.search.comparison.comparison import (
    StudyComparison,
    caution_lines,
    compare_studies,
    pair_sentence,
)
from chorale.search.comparison.page import render_comparison
from chorale.search.comparison.scored_study import ScoredStudy
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.ledger.reader import Row
from chorale.search.statistics.scores import json_scores, paired_difference

N_TEST = 40
IDS = tuple(f"t{i:02}" for i in range(N_TEST))
REST = tuple(f"r{i}" for i in range(4))
LABELS = np.arange(N_TEST) % 2


def scored(
    name: str, right: Sequence[bool], *, rest: Sequence[str] = REST, **settings: Any
) -> ScoredStudy:
    """A study whose ensemble is right for these tracks of `IDS`, stored in reversed order."""
    at = dict(zip(IDS, right, strict=True))
    ids = tuple(reversed(IDS))
    split = Split(ids, {track: i % 2 for i, track in enumerate(rest)}, "", 2, 0)
    labels = {track: i % 2 for i, track in enumerate((*IDS, *rest))}
    truth = GroundTruth(("x", "y"), split, labels, {track: track for track in labels})
    own = truth.labels(ids)
    test = np.eye(2)[np.where([at[track] for track in ids], own, 1 - own)]
    report = {
        "dataset": {"name": "folder", "n_tracks": len(labels)},
        "trials": {"complete": 2, "pruned": 1, "failed": 1},
        "cost": {"wall_s": 75.0},
        "ensemble": {"kind": "greedy", "test": json_scores(test, own, truth.groups(ids))},
    }
    values = [("0", "COMPLETE", 0.5), ("1", "PRUNED", 0.9), ("2", "COMPLETE", 0.75)]
    rows = {n: Row(n, state, facts={"metrics": {"accuracy": v}}) for n, state, v in values}
    rows["10"] = Row("10", "FAIL", "diverged")
    return ScoredStudy(name, report, settings, rows, truth, test)


@pytest.fixture
def comparison() -> StudyComparison:
    rng = np.random.default_rng(0)
    good, bad = rng.random(N_TEST) < 0.9, rng.random(N_TEST) < 0.5
    some: dict[str, Any] = {
        "search.seed": 0,
        "split.test_groups": ["a", "b"],
        "train.compile": True,
    }
    other: dict[str, Any] = {
        "search.seed": 1,
        "split.test_groups": ["a", "b"],
        "budget.minutes": None,
    }
    return compare_studies([scored("good", list(good), **some), scored("<b>", list(bad), **other)])


def test_the_difference_is_that_of_the_same_tracks(comparison: StudyComparison) -> None:
    rng = np.random.default_rng(0)
    probas = [
        np.eye(2)[np.where(rng.random(N_TEST) < share, LABELS, 1 - LABELS)] for share in (0.9, 0.5)
    ]
    difference, ends = paired_difference(probas[0], probas[1], LABELS, np.arange(N_TEST))
    [pair] = comparison.pairs
    assert (pair["first"], pair["second"]) == ("good", "<b>")
    assert (pair["difference"], pair["ci95"]) == (pytest.approx(difference), pytest.approx(ends))
    assert pair_sentence(pair).startswith("'good' is better than '<b>': +")
    turned = {**pair, "ci95": [-0.3, -0.1], "difference": -0.2}
    assert pair_sentence(turned).startswith("'good' is worse than '<b>': -20.0 points (95 % CI -30")
    none = {**pair, "ci95": [-0.1, 0.2], "difference": 0.05}
    assert pair_sentence(none).startswith("no difference is shown between 'good' and '<b>': +5.0")


def test_settings_that_differ_are_listed_as_text(comparison: StudyComparison) -> None:
    assert comparison.settings == {
        "search.seed": ["0", "1"],
        "train.compile": ["true", "-"],
        "budget.minutes": ["-", "null"],
    }


def test_curves_are_those_of_completed_trials_in_order_of_their_numbers(
    comparison: StudyComparison,
) -> None:
    assert comparison.curves == {name: [0.5, 0.5, 0.75, 0.75] for name in ("good", "<b>")}
    right = [True] * N_TEST
    other: dict[str, Any] = {"search.objective": "macro_f1"}
    assert compare_studies([scored("a", right), scored("b", right, **other)]).curves == {}
    split = compare_studies([scored("a", right), scored("b", right, rest=("r0", "r5"))])
    assert split.curves == {}, "values on other validation tracks cannot be compared"
    assert "different splits" in " ".join(caution_lines(split))


def test_the_number_of_differences_shown_by_chance_is_stated() -> None:
    right = [i % 3 > 0 for i in range(N_TEST)]
    every = [scored(name, right) for name in "abcd"]
    lines = " ".join(caution_lines(compare_studies(every)))
    assert "of 6 differences that are really 0, 0.3 would be shown by chance" in lines
    assert "by chance" not in " ".join(caution_lines(compare_studies(every[:2])))


def test_the_page_shows_everything_and_escapes_names(comparison: StudyComparison) -> None:
    page = render_comparison(comparison)
    assert "<b>" not in page
    assert "40 common test tracks in 40 groups" in page
    assert "'good' is better than '&lt;b&gt;'".replace("'", "&#39;") in page
    assert page.count('class="chart"') == 2
    assert "train.compile" in page
    assert "1 min 15 s" in page
    assert page.count("<script>") == 1, "that of the charts"
    body = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r'(src|href)="', body), "nothing is loaded"


def test_the_json_names_every_study(comparison: StudyComparison) -> None:
    found = comparison.as_json()
    assert [one["study"] for one in found["studies"]] == ["good", "<b>"]
    assert (found["metric"], found["n_common"], found["n_groups"]) == ("accuracy", N_TEST, N_TEST)
    assert found["settings"]["search.seed"] == {"good": "0", "<b>": "1"}
