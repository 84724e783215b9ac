"""Architecture spaces + the YAML's narrowing -> one conditional space over everything.

`architecture` is a categorical; an architecture's own parameters exist only under it, and so do
parameters that need another's value (`train.momentum` needs `train.optimizer: sgd`).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

from chorale.datasets import plugins
from chorale.datasets.config import read
from chorale.datasets.errors import UserError, unknown
from chorale.lightning_models import architectures as architecture_files
from chorale.lightning_models.train_config import ONLY_FOR, ONLY_WITH, TRAIN_SPACE, TrainConfig
from chorale.search.distributions import optuna_space
from chorale.search.narrowing import contains, narrow

Pick = Callable[[str, BaseDistribution], Any]
"""Gives the value of a parameter by its full name: `cnn.width`, `train.lr`."""

ARCHITECTURE = "architecture"
TRAIN = "train"


@dataclass(frozen=True)
class Candidate:
    """One point of the space: an architecture, the features it eats, and both configs' values."""

    architecture: str
    features: str
    config: Mapping[str, Any]
    train: Mapping[str, Any]


@dataclass(frozen=True)
class SearchSpace:
    """The whole conditional space: for each architecture its parameters, and the training's.

    `features` says for each architecture which of the sweep's feature sets it can eat; `fixed` are
    the training values that the sweep sets and does not search.
    """

    features: Mapping[str, tuple[str, ...]]
    spaces: Mapping[str, Mapping[str, BaseDistribution]]
    fixed: Mapping[str, Any]

    @property
    def architectures(self) -> tuple[str, ...]:
        """The names that are searched."""
        return tuple(self.features)

    def suggest(self, trial: BaseTrial) -> Candidate:
        """Draws a candidate, asking `trial` for just the parameters that exist under its choices.

        A trial that has its values already (a stored one) gives the same candidate again.
        """
        return self.candidate(lambda name, distribution: draw(trial, name, distribution))

    def candidate(self, pick: Pick) -> Candidate:
        """The candidate that `pick` makes, asked once for each parameter that exists, in order."""
        architecture = str(pick(ARCHITECTURE, CategoricalDistribution(self.architectures)))
        eats = self.features[architecture]
        features = eats[0]
        if len(eats) > 1:
            features = str(pick(f"{architecture}.features", CategoricalDistribution(eats)))
        config = {
            name: pick(f"{architecture}.{name}", distribution)
            for name, distribution in self.spaces[architecture].items()
        }
        train: dict[str, Any] = {}
        for name, distribution in _parents_first(self.spaces[TRAIN]):
            if self._exists(name, features, train):
                train[name] = pick(f"{TRAIN}.{name}", distribution)
        return Candidate(architecture, features, config, train)

    def flat(self, architecture: str) -> dict[str, BaseDistribution]:
        """Every parameter that can exist under `architecture`, by its full name."""
        eats = self.features[architecture]
        found: dict[str, BaseDistribution] = {}
        if len(eats) > 1:
            found[f"{architecture}.features"] = CategoricalDistribution(eats)
        for name, distribution in self.spaces[architecture].items():
            found[f"{architecture}.{name}"] = distribution
        for name, distribution in _parents_first(self.spaces[TRAIN]):
            if any(features in ONLY_FOR.get(name, eats) for features in eats):
                found[f"{TRAIN}.{name}"] = distribution
        return found

    def names(self) -> tuple[str, ...]:
        """Every parameter of the space by its full name, in alphabetical order."""
        every = {ARCHITECTURE}.union(*(self.flat(a) for a in self.architectures))
        return tuple(sorted(every))

    def _exists(self, name: str, features: str, train: Mapping[str, Any]) -> bool:
        """Whether a training parameter means something for these features and earlier values."""
        if features not in ONLY_FOR.get(name, (features,)):
            return False
        if name not in ONLY_WITH:
            return True
        parent, values = ONLY_WITH[name]
        return train.get(parent, self.fixed.get(parent)) in values

    def defaults(self) -> list[dict[str, Any]]:
        """The architectures' known-good points, the first of each before the second of any.

        A value that the YAML's narrowing excludes is left to the sampler.
        """
        points: list[tuple[int, dict[str, Any]]] = []
        for architecture in self.architectures:
            module = load_architecture(architecture)
            for rank, default in enumerate(module.DEFAULTS):
                points.append((rank, self._point(architecture, module.Config(), default)))
        return [point for _, point in sorted(points, key=lambda p: p[0])]

    def _point(self, architecture: str, config: Any, default: Mapping[str, Any]) -> dict[str, Any]:
        point: dict[str, Any] = {"architecture": architecture}
        if len(self.features[architecture]) > 1:
            preferred = default.get("features", self.features[architecture][0])
            if preferred in self.features[architecture]:
                point[f"{architecture}.features"] = preferred
        for name, distribution in self.spaces[architecture].items():
            value = default.get(name, getattr(config, name))
            if contains(distribution, value):
                point[f"{architecture}.{name}"] = value
        train = TrainConfig()
        for name, distribution in self.spaces[TRAIN].items():
            value = default.get(f"{TRAIN}.{name}", getattr(train, name))
            if contains(distribution, value):
                point[f"{TRAIN}.{name}"] = value
        return point


def draw(trial: BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    """The value that `trial` has, or now gets, for the parameter `name`."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name,
            distribution.low,
            distribution.high,
            step=distribution.step,
            log=distribution.log,
        )
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(
            name,
            distribution.low,
            distribution.high,
            step=distribution.step,
            log=distribution.log,
        )
    raise TypeError(f"{name} has a distribution of an unknown kind: {distribution!r}")


def _parents_first(
    space: Mapping[str, BaseDistribution],
) -> list[tuple[str, BaseDistribution]]:
    return sorted(space.items(), key=lambda item: item[0] in ONLY_WITH)


def load_architecture(name: str) -> Any:
    """The architecture's module (see `lightning_models.base.Architecture`).

    Raises:
        UserError: there is none of that name; the nearest is offered.
    """
    return plugins.load(architecture_files, name, kind="architecture")


def light_architectures() -> list[str]:
    """The names of all architectures that are searched where a sweep names none."""
    names = plugins.names(architecture_files)
    return [name for name in names if not getattr(load_architecture(name), "HEAVY", False)]


def make_space(
    architectures: Sequence[str] | None,
    features: Sequence[str],
    narrowing: Mapping[str, Mapping[str, Any]],
    *,
    fixed: Mapping[str, Any],
) -> tuple[SearchSpace | None, list[str]]:
    """Joins and narrows the spaces; gives the problems back where there are any.

    Args:
        architectures: names, or None for all light ones that can eat one of `features`.
        features: the feature sets of this sweep.
        narrowing: architecture name or "train" -> parameter -> `{kind: [low, high]}`,
            `{choice: [...]}`, or one fixed value.
        fixed: training parameters that the sweep sets itself and does not search.
    """
    problems: list[str] = []
    eats: dict[str, tuple[str, ...]] = {}
    if architectures is not None and not architectures:
        problems.append("architectures: is empty; name at least one, or leave it out for all")
    for name in light_architectures() if architectures is None else architectures:
        try:
            able = load_architecture(name).FEATURES
        except UserError as error:
            problems.append(f"architectures: {error}")
            continue
        if fitting := tuple(f for f in able if f in features):
            eats[name] = fitting
        elif architectures:
            problems.append(
                f"architectures: '{name}' eats {' or '.join(able)}, but this sweep computes "
                f"{', '.join(features)}; add --features.{able[0]} '{{}}'"
            )
    if not eats and not problems:
        what = ", ".join(features) or "nothing, which is all that `features` names"
        problems.append(f"architectures: none eats {what}")
    declared = {name: optuna_space(load_architecture(name).SPACE) for name in eats}
    declared[TRAIN] = optuna_space({k: v for k, v in TRAIN_SPACE.items() if k not in fixed})
    for owner, parameters in narrowing.items():
        if owner == TRAIN and isinstance(parameters, Mapping):
            both = [name for name in parameters if name in fixed]
            problems += [
                f"space.train.{n}: is fixed by train.{n}; remove one of them" for n in both
            ]
            parameters = {n: wanted for n, wanted in parameters.items() if n not in both}
        problems += _narrow_all(declared, owner, parameters)
    return (None if problems else SearchSpace(eats, declared, fixed)), problems


def _narrow_all(
    declared: dict[str, dict[str, BaseDistribution]], owner: str, parameters: Any
) -> list[str]:
    """Narrows `declared[owner]` in place; gives the problems back.

    The space of an architecture that this sweep leaves out is checked, too, and not used.
    """
    known = plugins.names(architecture_files)
    if owner not in declared:
        if owner not in known:
            return [f"space: {unknown('architecture', owner, [*known, TRAIN])}"]
        declared = {owner: optuna_space(load_architecture(owner).SPACE)}
    if not isinstance(parameters, Mapping):
        return [f"space.{owner}: should map parameters to ranges, but got {parameters!r}"]
    problems = []
    for name, wanted in parameters.items():
        where = f"space.{owner}.{name}"
        try:
            if name in declared[owner]:
                declared[owner][name] = narrow(declared[owner][name], wanted)
            elif owner != TRAIN and name in _settings(owner):
                declared[owner][name] = _settled(owner, name, wanted)
            else:
                raise unknown("parameter", name, declared[owner])
        except (ValueError, UserError) as error:
            problems.append(f"{where}: {error}")
    return problems


def _settings(architecture: str) -> list[str]:
    return [field.name for field in dataclasses.fields(load_architecture(architecture).Config)]


def _settled(architecture: str, name: str, wanted: Any) -> BaseDistribution:
    """The values that a sweep gives a field that is not searched by itself, such as `weights`.

    Raises:
        UserError: the architecture does not take one of them.
        ValueError: a range, where only values are known to be right.
    """
    values = wanted.get("choice") if isinstance(wanted, Mapping) else [wanted]
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ValueError(f"should be one value, or {{choice: [...]}}, but got {wanted!r}")
    module = load_architecture(architecture)
    for value in values:
        config = read(module.Config, {name: value}, where=f"architecture '{architecture}'")
        if hasattr(module, "check"):
            module.check(config)
    return CategoricalDistribution(tuple(values))


def default_of(name: str) -> Any:
    """The value that a config has by itself, by the parameter's full name: `cnn.width`."""
    owner, _, parameter = name.partition(".")
    config = TrainConfig() if owner == TRAIN else load_architecture(owner).Config()
    return getattr(config, parameter)
