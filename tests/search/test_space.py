from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from datasets.config import read
from lightning_models.train_config import TRAIN_SPACE, TrainConfig
from search.space import SearchSpace, contains, describe, load_architecture, make_space, narrow

LR = FloatDistribution(1e-4, 1e-2, log=True)
LAYERS = IntDistribution(2, 5)
CELL = CategoricalDistribution(("lstm", "gru"))


@pytest.mark.parametrize(
    ("declared", "wanted", "made"),
    [
        (LR, {"log_float": [1e-3, 3e-3]}, FloatDistribution(1e-3, 3e-3, log=True)),
        (LR, {"float": [1e-3, 3e-3]}, FloatDistribution(1e-3, 3e-3)),
        (LR, 1e-3, CategoricalDistribution((1e-3,))),
        (LR, {"choice": [1e-3, 2e-3]}, CategoricalDistribution((1e-3, 2e-3))),
        (LAYERS, {"int": [2, 3]}, IntDistribution(2, 3)),
        (LAYERS, {"log_int": [2, 4]}, IntDistribution(2, 4, log=True)),
        (LAYERS, 4, CategoricalDistribution((4,))),
        (CELL, {"choice": ["gru"]}, CategoricalDistribution(("gru",))),
        (CELL, "gru", CategoricalDistribution(("gru",))),
    ],
)
def test_five_kinds_narrow_a_space(declared: Any, wanted: Any, made: Any) -> None:
    assert narrow(declared, wanted) == made


@pytest.mark.parametrize(
    ("declared", "wanted", "said"),
    [
        (LR, {"log_float": [1e-5, 1e-3]}, r"1e-05 is outside .* log_float: \[0.0001, 0.01\]"),
        (LR, {"log_float": [1e-3, 5e-4]}, "low <= high"),
        (LR, {"log_float": [1e-3]}, "low <= high"),
        (LR, {"log": [1e-3, 1e-2]}, "should be one of float, log_float"),
        (LR, {"log_float": 3}, "needs a list"),
        (LR, {"choice": []}, "needs a list"),
        (LAYERS, {"int": [2, 9]}, r"9 is outside .* int: \[2, 5\]"),
        (LAYERS, {"float": [2, 3]}, "whole numbers"),
        (LAYERS, 2.5, "2.5 is outside"),
        (CELL, {"choice": ["rnn"]}, r"'rnn' is outside .* choice: \['lstm', 'gru'\]"),
        (CELL, {"int": [1, 2]}, "outside"),
        (LAYERS, True, "True is outside"),
    ],
)
def test_a_narrowing_that_does_not_fit_says_what_is_declared(
    declared: Any, wanted: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        narrow(declared, wanted)


def _space(**kwargs: Any) -> SearchSpace:
    architectures = kwargs.pop("architectures", ["cnn", "recurrent"])
    features = kwargs.pop("features", ["mel", "mfcc"])
    narrowing = kwargs.pop("narrowing", {})
    space, problems = make_space(architectures, features, narrowing, fixed=kwargs)
    assert problems == []
    assert space is not None
    return space


def _trials(space: SearchSpace, n: int) -> list[optuna.Trial]:
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    return [study.ask() for _ in range(n)]


def test_only_the_parameters_of_the_chosen_architecture_exist() -> None:
    space = _space()
    seen = set()
    for trial in _trials(space, 30):
        candidate = space.suggest(trial)
        seen.add(candidate.architecture)
        owners = {name.split(".")[0] for name in trial.params if "." in name}
        assert owners == {candidate.architecture, "train"}
        assert candidate.config.keys() == load_architecture(candidate.architecture).SPACE.keys()
    assert seen == {"cnn", "recurrent"}


def test_a_parameter_exists_only_under_the_choice_that_needs_it() -> None:
    space = _space()
    for trial in _trials(space, 30):
        train = space.suggest(trial).train
        sgd = train["optimizer"] == "sgd"
        assert ("momentum" in train, "sgd_lr" in train, "lr" in train) == (sgd, sgd, not sgd)


def test_a_fixed_optimizer_still_decides_what_exists() -> None:
    space = _space(optimizer="sgd")
    train = space.suggest(_trials(space, 1)[0]).train
    assert "optimizer" not in train
    assert "sgd_lr" in train
    assert "lr" not in train


def test_a_stored_trial_gives_the_same_candidate_again() -> None:
    space = _space()
    [trial] = _trials(space, 1)
    assert space.suggest(trial) == space.suggest(trial)


def test_every_default_is_a_point_of_the_space() -> None:
    space = _space()
    points = space.defaults()
    assert {p["architecture"] for p in points[:2]} == {"cnn", "recurrent"}
    study = optuna.create_study()
    for point in points:
        study.enqueue_trial(point)
    for point in points:
        trial = study.ask()
        candidate = space.suggest(trial)
        assert candidate.architecture == point["architecture"]
        # What a default names and its own choices allow is taken as it stands.
        assert {k: v for k, v in trial.params.items() if k in point} == {
            k: v for k, v in point.items() if k in trial.params
        }


def test_a_default_outside_the_narrowed_space_is_left_to_the_sampler() -> None:
    narrowing = {"train": {"optimizer": {"choice": ["sgd"]}}}
    points = _space(narrowing=narrowing).defaults()
    assert all(p.get("train.optimizer", "sgd") == "sgd" for p in points)


@pytest.mark.parametrize(
    ("architectures", "features", "narrowing", "said"),
    [
        (["cn"], ["mel"], {}, "unknown architecture 'cn'; did you mean 'cnn'?"),
        (None, ["mel"], {"cnnn": {"n_layers": 3}}, "did you mean 'cnn'?"),
        (None, ["mel"], {"cnn": {"n_layer": 3}}, "did you mean 'n_layers'?"),
        (None, ["mel"], {"train": {"lr": {"log_float": [1e-9, 1]}}}, "space.train.lr: 1e-09 is"),
        (None, ["mel"], {"train": 3}, "space.train: should map"),
        (None, [], {}, "none eats"),
    ],
)
def test_what_does_not_fit_is_named(
    architectures: Any, features: Any, narrowing: Any, said: str
) -> None:
    space, problems = make_space(architectures, features, narrowing, fixed={})
    assert space is None
    assert any(said in problem for problem in problems), problems


def test_lr_layers_dropout_and_optimizer_are_always_searched() -> None:
    space = _space()
    assert {"lr", "optimizer"} <= TRAIN_SPACE.keys()
    for name in space.architectures:
        assert "dropout" in space.spaces[name]
        assert any("layers" in parameter for parameter in space.spaces[name])


def test_every_training_distribution_fits_its_config() -> None:
    for name, distribution in TRAIN_SPACE.items():
        if isinstance(distribution, CategoricalDistribution):
            ends = list(distribution.choices)
        else:
            ends = [distribution.low, distribution.high]  # type: ignore[attr-defined]
        for end in ends:
            assert contains(distribution, end)
            assert getattr(read(TrainConfig, {name: end}, where=name), name) == end
        assert describe(distribution)
