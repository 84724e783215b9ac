"""Architecture spaces + the YAML's narrowing -> one conditional space over everything.

`architecture` is a categorical; an architecture's own parameters exist only under it, and so do
parameters that need another's value (`train.momentum` needs `train.optimizer: sgd`).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chorale.datasets import plugins
from chorale.datasets.config import read
from chorale.datasets.declarations import declared
from chorale.datasets.errors import UserError, unknown
from chorale.lightning_models import architectures as architecture_files
from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    Distribution,
    FloatDistribution,
    IntDistribution,
)
from chorale.lightning_models.train_config import ONLY_FOR, ONLY_WITH, TRAIN_SPACE, TrainConfig
from chorale.search.config.narrowing import contains, narrow

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

Pick = Callable[[str, Distribution], Any]
"""Gives the value of a parameter by its full name: `cnn.width`, `train.lr`."""

DECLARED = ("FEATURES", "HEAVY", "Config", "SPACE", "DEFAULTS", "check")
"""What an architecture's file says of its network (see `lightning_models.base.Architecture`)."""

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
    spaces: Mapping[str, Mapping[str, Distribution]]
    fixed: Mapping[str, Any]

    @property
    def architectures(self) -> tuple[str, ...]:
        """The names that are searched."""
        return tuple(self.features)

    def suggest(self, trial: "BaseTrial") -> Candidate:
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

    def flat(self, architecture: str) -> "dict[str, BaseDistribution]":
        """Every parameter that can exist under `architecture`, by its full name, for Optuna."""
        from chorale.search.config.distributions import optuna_space

        return optuna_space(self._flat(architecture))

    def _flat(self, architecture: str) -> dict[str, Distribution]:
        eats = self.features[architecture]
        found: dict[str, Distribution] = {}
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
        every = {ARCHITECTURE}.union(*(self._flat(a) for a in self.architectures))
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
            module = declarations(architecture)
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


def draw(trial: "BaseTrial", name: str, distribution: Distribution) -> Any:
    """The value that `trial` has, or now gets, for the parameter `name`."""
    match distribution:
        case CategoricalDistribution(choices):
            return trial.suggest_categorical(name, choices)
        case IntDistribution(low, high, log, step):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case FloatDistribution(low, high, log, step):
            return trial.suggest_float(name, low, high, step=step, log=log)
    raise TypeError(f"{name} has a distribution of an unknown kind: {distribution!r}")


def _parents_first(
    space: Mapping[str, Distribution],
) -> list[tuple[str, Distribution]]:
    return sorted(space.items(), key=lambda item: item[0] in ONLY_WITH)


def declarations(name: str) -> Any:
    """What the architecture declares, without PyTorch, of which only its network is made.

    Raises:
        UserError: there is none of that name; the nearest is offered.
    """
    return declared(architecture_files, name, kind="architecture", names=DECLARED)


def light_architectures() -> list[str]:
    """The names of all architectures that are searched where a sweep names none."""
    names = plugins.names(architecture_files)
    return [name for name in names if not getattr(declarations(name), "HEAVY", False)]


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
            able = declarations(name).FEATURES
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
    spaces: dict[str, dict[str, Distribution]]
    spaces = {name: dict(declarations(name).SPACE) for name in eats}
    spaces[TRAIN] = {k: v for k, v in TRAIN_SPACE.items() if k not in fixed}
    for owner, parameters in narrowing.items():
        if owner == TRAIN and isinstance(parameters, Mapping):
            both = [name for name in parameters if name in fixed]
            problems += [
                f"space.train.{n}: is fixed by train.{n}; remove one of them" for n in both
            ]
            parameters = {n: wanted for n, wanted in parameters.items() if n not in both}
        problems += _narrow_all(spaces, owner, parameters)
    return (None if problems else SearchSpace(eats, spaces, fixed)), problems


def _narrow_all(
    spaces: dict[str, dict[str, Distribution]], owner: str, parameters: Any
) -> list[str]:
    """Narrows `spaces[owner]` in place; gives the problems back.

    The space of an architecture that this sweep leaves out is checked, too, and not used.
    """
    known = plugins.names(architecture_files)
    if owner not in spaces:
        if owner not in known:
            return [f"space: {unknown('architecture', owner, [*known, TRAIN])}"]
        spaces = {owner: dict(declarations(owner).SPACE)}
    if not isinstance(parameters, Mapping):
        return [f"space.{owner}: should map parameters to ranges, but got {parameters!r}"]
    problems = []
    for name, wanted in parameters.items():
        where = f"space.{owner}.{name}"
        try:
            if name in spaces[owner]:
                spaces[owner][name] = narrow(spaces[owner][name], wanted)
            elif owner != TRAIN and name in _settings(owner):
                spaces[owner][name] = _settled(owner, name, wanted)
            else:
                raise unknown("parameter", name, spaces[owner])
        except (ValueError, UserError) as error:
            problems.append(f"{where}: {error}")
    return problems


def _settings(architecture: str) -> list[str]:
    return [field.name for field in dataclasses.fields(declarations(architecture).Config)]


def _settled(architecture: str, name: str, wanted: Any) -> Distribution:
    """The values that a sweep gives a field that is not searched by itself, such as `weights`.

    Raises:
        UserError: the architecture does not take one of them.
        ValueError: a range, where only values are known to be right.
    """
    values = wanted.get("choice") if isinstance(wanted, Mapping) else [wanted]
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ValueError(f"should be one value, or {{choice: [...]}}, but got {wanted!r}")
    module = declarations(architecture)
    for value in values:
        config = read(module.Config, {name: value}, where=f"architecture '{architecture}'")
        if hasattr(module, "check"):
            module.check(config)
    return CategoricalDistribution(tuple(values))


def default_of(name: str) -> Any:
    """The value that a config has by itself, by the parameter's full name: `cnn.width`."""
    owner, _, parameter = name.partition(".")
    config = TrainConfig() if owner == TRAIN else declarations(owner).Config()
    return getattr(config, parameter)
