import dataclasses
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState, create_trial

from chorale.datasets import plugins
from chorale.datasets.config import read_config
from chorale.datasets.features import with_layouts
from chorale.lightning_models import architectures as architecture_files
from chorale.lightning_models.base import load_architecture
from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from chorale.lightning_models.train_config import TRAIN_SPACE, TrainConfig
from chorale.search.config.narrowing import contains, describe, narrow_distribution
from chorale.search.config.schema import SearchConfig
from chorale.search.config.space import SearchSpace, make_space
from chorale.search.study.initial_points import make_initial_points
from chorale.search.study.proposals import Measured, Proposals

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
        (IntDistribution(16, 64, step=16), {"int": [32, 64]}, IntDistribution(32, 64, step=16)),
    ],
)
def test_each_kind_of_range_narrows_a_distribution(declared: Any, wanted: Any, made: Any) -> None:
    assert narrow_distribution(declared, wanted) == made


@pytest.mark.parametrize(
    ("declared", "wanted", "message"),
    [
        (LR, {"log_float": [1e-5, 1e-3]}, r"1e-05 is outside .* log_float: \[0.0001, 0.01\]"),
        (LR, {"log_float": [1e-3, 5e-4]}, "low <= high"),
        (LR, {"log_float": [1e-3]}, "low <= high"),
        (LR, {"log": [1e-3, 1e-2]}, "should be one value or one of float, log_float"),
        (LR, {"log_float": 3}, "needs a list"),
        (LR, {"choice": []}, "needs a list"),
        (LAYERS, {"int": [2, 9]}, r"9 is outside .* int: \[2, 5\]"),
        (LAYERS, {"float": [2, 3]}, "whole numbers"),
        (LAYERS, 2.5, "2.5 is outside"),
        (CELL, {"choice": ["rnn"]}, r"'rnn' is outside .* choice: \['lstm', 'gru'\]"),
        (CELL, {"int": [1, 2]}, "outside"),
        (LAYERS, True, "True is outside"),
        (IntDistribution(16, 64, step=16), {"int": [16, 40]}, "in steps of 16"),
        (LAYERS, {"choice": [2, 2]}, "names 2 twice"),
        (FloatDistribution(0.0, 1.0), {"log_float": [0.0, 1.0]}, "low > 0"),
    ],
)
def test_an_invalid_narrowing_is_refused_with_the_declared_range(
    declared: Any, wanted: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        narrow_distribution(declared, wanted)


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


def test_a_conditional_parameter_exists_only_under_its_parents_value() -> None:
    space = _space()
    for trial in _trials(space, 30):
        train = space.suggest(trial).train
        sgd = train["optimizer"] == "sgd"
        assert ("momentum" in train, "sgd_lr" in train, "lr" in train) == (sgd, sgd, not sgd)


def test_a_fixed_optimizer_still_determines_the_conditional_parameters() -> None:
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
    ("architectures", "features", "narrowing", "message"),
    [
        (["cn"], ["mel"], {}, "unknown architecture 'cn'; did you mean 'cnn'?"),
        (None, ["mel"], {"cnnn": {"n_layers": 3}}, "did you mean 'cnn'?"),
        (None, ["mel"], {"cnn": {"n_layer": 3}}, "did you mean 'n_layers'?"),
        (None, ["mel"], {"train": {"lr": {"log_float": [1e-9, 1]}}}, "space.train.lr: 1e-09 is"),
        (None, ["mel"], {"train": 3}, "space.train: should map"),
        (None, [], {}, "none accepts"),
        ([], ["mel"], {}, "architectures: is empty"),
    ],
)
def test_problems_name_the_key_that_is_wrong(
    architectures: Any, features: Any, narrowing: Any, message: str
) -> None:
    space, problems = make_space(architectures, features, narrowing, fixed={})
    assert space is None
    assert any(message in problem for problem in problems), problems


ALWAYS = ("n_layers", "n_blocks", "depth", "dropout")


@pytest.mark.parametrize("name", plugins.plugin_names(architecture_files))
def test_lr_layers_dropout_and_optimizer_are_always_searched(name: str) -> None:
    module = load_architecture(name)
    has = {field.name for field in dataclasses.fields(module.Config)}
    assert has.intersection(ALWAYS) <= module.SPACE.keys()
    assert "dropout" in has
    space = _space(architectures=[name], features=list(with_layouts(module.LAYOUTS)) or ["table"])
    seen = space.flat(name).keys()
    assert {"train.lr", "train.sgd_lr", "train.optimizer", f"{name}.dropout"} <= seen


def test_parameters_that_the_sweep_fixes_are_not_searched() -> None:
    flat = _space(architectures=["cnn"], lr=1e-3, narrowing={"cnn": {"dropout": 0.3}}).flat("cnn")
    assert "train.lr" not in flat
    assert flat["cnn.dropout"].single()


def _taken_from(params: dict[str, Any], asked: list[str]) -> Any:
    def pick(name: str, _: Any) -> Any:
        asked.append(name)
        return params[name]

    return pick


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp", "nsga2"])
@pytest.mark.parametrize("second", ["none", "latency_ms"])
def test_every_sampler_proposes_points_of_the_space(sampler: Any, second: Any) -> None:
    searched = {"optimizer", "lr", "sgd_lr", "momentum"}
    rest = {name: getattr(TrainConfig(), name) for name in TRAIN_SPACE if name not in searched}
    # the time of Gaussian processes grows with the number of parameters
    few: dict[str, Any] = {"architectures": ["cnn6", "resnet18"], **rest}
    space = _space(features=["mel"], **(few if sampler == "gp" else {}))
    search = SearchConfig(sampler=sampler, second=second)
    proposals = Proposals(space, search, make_initial_points(space, search, n_trials=12))
    for number in range(14):
        params, distributions = proposals.propose()
        asked: list[str] = []
        candidate = space.candidate(_taken_from(params, asked))
        assert set(asked) == params.keys()
        assert candidate.architecture == params["architecture"]
        state = TrialState.PRUNED if number % 3 == 2 else TrialState.COMPLETE
        trial = create_trial(
            state=state, params=params, distributions=distributions, value=number / 14
        )
        trial.number = number
        proposals.end(trial, Measured(1.0 + number))


def test_every_training_distribution_fits_its_config() -> None:
    for name, distribution in TRAIN_SPACE.items():
        if isinstance(distribution, CategoricalDistribution):
            ends = list(distribution.choices)
        else:
            ends = [distribution.low, distribution.high]
        for end in ends:
            assert contains(distribution, end)
            assert getattr(read_config(TrainConfig, {name: end}, where=name), name) == end
        assert describe(distribution)


def test_a_weights_file_can_be_given_and_must_exist_before_training(
    tmp_path: Path,
) -> None:
    from safetensors.torch import save_file

    file = tmp_path / "weights.safetensors"
    save_file({"conv1.weight": torch.zeros(1)}, file)
    names = ["resnet18"]
    space, problems = make_space(names, ["mel"], {"resnet18": {"weights": str(file)}}, fixed={})
    assert not problems
    assert space is not None
    weights: Any = space.spaces["resnet18"]["weights"]
    assert weights.choices == (str(file),)
    _, problems = make_space(names, ["mel"], {"resnet18": {"weights": "missing.pth"}}, fixed={})
    assert len(problems) == 1
    assert problems[0].startswith("space.resnet18.weights: weights='missing.pth': there is no file")


def test_heavy_architectures_are_searched_only_where_they_are_named() -> None:
    every, _ = make_space(None, ["mel"], {}, fixed={})
    named, _ = make_space(["resnet18"], ["mel"], {}, fixed={})
    assert every is not None
    assert named is not None
    assert "resnet18" not in every.architectures
    assert "cnn" in every.architectures
    assert named.architectures == ("resnet18",)


@pytest.mark.parametrize("features", [["mel", "mfcc", "stft"], ["stft", "mfcc", "mel"]])
def test_the_choice_of_features_does_not_depend_on_the_order_of_the_sweep_files_keys(
    features: list[str],
) -> None:
    space = _space(architectures=["cnn", "image_cnn"], features=[*features, "spectrogram_image"])
    assert space.features["cnn"] == ("mel", "mfcc", "stft", "spectrogram_image")
    assert space.features["image_cnn"] == ("spectrogram_image", "mel", "mfcc", "stft")
