from typing import Any

import pytest

from chorale.datasets.errors import UserError
from chorale.search.config.space import SearchSpace, make_space
from chorale.search.ledger.ledger import Row
from chorale.search.study.warm_start import Earlier, warm_start
from chorale.search.sweep.preflight import wanted

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


def _earlier(*rows: Row, **changes: Any) -> Earlier:
    rung = {int(row.key): 0.4 for row in rows}
    return Earlier("old", {**NOW, **changes}, {row.key: row for row in rows}, rung)


def _warm(space: SearchSpace, *earlier: Earlier) -> Any:
    return warm_start(space, NOW, earlier, objective="accuracy")


def test_the_best_distinct_trials_come_best_first_with_their_hurdle() -> None:
    old = _earlier(_row(0, 0.5), _row(1, 0.9, lr=2e-3), _row(2, 0.8, lr=2e-3))
    found = _warm(_space(), old)
    assert [point.source for point in found.points] == ["old/1", "old/0"]
    assert found.points[0].params["train.lr"] == 2e-3
    assert found.points[0].rung == 0.4
    assert found.left_out == ()


@pytest.mark.parametrize(
    ("narrowing", "fixed", "said"),
    [
        ({"train": {"lr": {"log_float": [1e-4, 5e-4]}}}, {}, "train.lr was 0.001, now it is"),
        ({"cnn": {"n_layers": 2}}, {}, "cnn.n_layers was 3, now it is choice: [2]"),
        ({}, {"lr": 0.01}, "train.lr was 0.001 and is fixed at 0.01"),
    ],
)
def test_a_trial_outside_the_changed_space_is_left_out_saying_why(
    narrowing: Any, fixed: dict[str, Any], said: str
) -> None:
    found = _warm(_space(narrowing, **fixed), _earlier(_row(0, 0.5), _row(1, 0.4)))
    assert found.points == ()
    [line] = found.left_out
    assert said in line
    assert "trial 0" in line


def test_another_architecture_is_left_out() -> None:
    space, _ = make_space(["recurrent"], ["mel"], {}, fixed={})
    assert space is not None
    [line] = _warm(space, _earlier(_row(0, 0.5))).left_out
    assert "cnn is not searched now" in line


def test_what_was_searched_and_is_fixed_at_the_same_value_now_still_fits() -> None:
    found = _warm(_space(lr=1e-3), _earlier(_row(0, 0.5)))
    assert "train.lr" not in found.points[0].params


def test_other_data_is_left_out_and_another_split_sets_no_hurdle() -> None:
    found = _warm(_space(), _earlier(_row(0, 0.5), dataset="other"))
    assert found.points == ()
    assert "other data" in found.left_out[0]
    found = _warm(_space(), _earlier(_row(0, 0.5), split="other"))
    assert found.points[0].rung is None
    assert "another split" in found.left_out[0]


def test_which_studies_are_meant() -> None:
    assert wanted("none", ["a", "b"], name="b") == []
    assert wanted("auto", ["a", "c", "b"], name="b") == ["a", "c"]
    assert wanted(("a",), ["a", "b"], name="b") == ["a"]
    with pytest.raises(UserError, match="did you mean 'abc'"):
        wanted(("abd",), ["abc"], name="b")
    with pytest.raises(UserError, match="this study itself"):
        wanted(("b",), ["a", "b"], name="b")
