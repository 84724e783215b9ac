"""Warm start: points of earlier studies that fit the space of a new one."""

from typing import Any

import pytest

from chorale.datasets.errors import UserError
from chorale.search.config.space import SearchSpace, make_space
from chorale.search.ledger.ledger import Row
from chorale.search.study.warm_start import EarlierStudy, warm_start
from chorale.search.sweep.preflight import warm_start_studies

NOW = {"dataset": "d", "split": "s", "features": {"mel": {}}, "number of epochs": 9}


def _space(narrowing: Any = None, **fixed: Any) -> SearchSpace:
    space, problems = make_space(["cnn"], ["mel"], narrowing or {}, fixed=fixed)
    assert space is not None, problems
    return space


def _row(number: int, accuracy: float, **train: Any) -> Row:
    [default, *_] = _space().defaults()
    params = default | {f"train.{name}": value for name, value in train.items()}
    picked: dict[str, Any] = {}

    def pick(name: str, _: Any) -> Any:
        picked[name] = params[name]
        return params[name]

    candidate = _space().candidate(pick)
    facts = {
        "architecture": candidate.architecture,
        "features": candidate.features,
        "config": candidate.config,
        "train": candidate.train,
        "params": picked,
        "metrics": {"accuracy": accuracy},
    }
    return Row(str(number), "COMPLETE", "", facts)


def _earlier(*rows: Row, **changes: Any) -> EarlierStudy:
    rung = {int(row.key): 0.4 for row in rows}
    return EarlierStudy("old", {**NOW, **changes}, {row.key: row for row in rows}, rung)


def _warm(space: SearchSpace, *earlier: EarlierStudy) -> Any:
    return warm_start(space, NOW, earlier, objective="accuracy")


def test_the_best_distinct_trials_come_first_with_their_rung_values() -> None:
    old = _earlier(_row(0, 0.5), _row(1, 0.9, lr=2e-3), _row(2, 0.8, lr=2e-3))
    found = _warm(_space(), old)
    assert [point.source for point in found.points] == ["old/1", "old/0"]
    assert found.points[0].params["train.lr"] == 2e-3
    assert found.points[0].rung == 0.4
    assert found.left_out == ()


@pytest.mark.parametrize(
    ("narrowing", "fixed", "reason"),
    [
        ({"train": {"lr": {"log_float": [1e-4, 5e-4]}}}, {}, "train.lr was 0.001, now it is"),
        ({"cnn": {"n_layers": 2}}, {}, "cnn.n_layers was 3, now it is choice: [2]"),
        ({}, {"lr": 0.01}, "train.lr was 0.001 and is fixed at 0.01"),
    ],
)
def test_a_trial_outside_the_changed_space_is_left_out_with_the_reason(
    narrowing: Any, fixed: dict[str, Any], reason: str
) -> None:
    found = _warm(_space(narrowing, **fixed), _earlier(_row(0, 0.5), _row(1, 0.4)))
    assert found.points == ()
    [line] = found.left_out
    assert reason in line
    assert "trial 0" in line


def test_another_architecture_is_left_out() -> None:
    space, _ = make_space(["recurrent"], ["mel"], {}, fixed={})
    assert space is not None
    [line] = _warm(space, _earlier(_row(0, 0.5))).left_out
    assert "cnn is not searched now" in line


def test_a_parameter_now_fixed_at_the_same_value_is_accepted() -> None:
    found = _warm(_space(lr=1e-3), _earlier(_row(0, 0.5)))
    assert "train.lr" not in found.points[0].params


def test_studies_on_other_data_are_left_out_and_on_another_split_have_no_rung_values() -> None:
    found = _warm(_space(), _earlier(_row(0, 0.5), dataset="other"))
    assert found.points == ()
    assert "other data" in found.left_out[0]
    found = _warm(_space(), _earlier(_row(0, 0.5), split="other"))
    assert found.points[0].rung is None
    assert "another split" in found.left_out[0]


def test_the_setting_selects_earlier_studies_by_name() -> None:
    assert warm_start_studies("none", ["a", "b"], name="b") == []
    assert warm_start_studies("auto", ["a", "c", "b"], name="b") == ["a", "c"]
    assert warm_start_studies(("a",), ["a", "b"], name="b") == ["a"]
    with pytest.raises(UserError, match="did you mean 'abc'"):
        warm_start_studies(("abd",), ["abc"], name="b")
    with pytest.raises(UserError, match="this study itself"):
        warm_start_studies(("b",), ["a", "b"], name="b")
