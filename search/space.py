"""Architecture spaces + the YAML's narrowing -> one conditional space over everything.

`architecture` is a categorical; an architecture's own parameters exist only under it, and so do
parameters that need another's value (`train.momentum` needs `train.optimizer: sgd`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

from datasets import plugins
from datasets.errors import UserError, unknown
from lightning_models import architectures as architecture_files
from lightning_models.train_config import ONLY_FOR, ONLY_WITH, TRAIN_SPACE, TrainConfig

KINDS = ("float", "log_float", "int", "log_int", "choice")
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
        architecture = str(trial.suggest_categorical("architecture", self.architectures))
        eats = self.features[architecture]
        features = eats[0]
        if len(eats) > 1:
            features = str(trial.suggest_categorical(f"{architecture}.features", eats))
        config = {
            name: draw(trial, f"{architecture}.{name}", distribution)
            for name, distribution in self.spaces[architecture].items()
        }
        train: dict[str, Any] = {}
        for name, distribution in _parents_first(self.spaces[TRAIN]):
            if not self._exists(name, features, train):
                continue
            train[name] = draw(trial, f"{TRAIN}.{name}", distribution)
        return Candidate(architecture, features, config, train)

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


def make_space(
    architectures: Sequence[str] | None,
    features: Sequence[str],
    narrowing: Mapping[str, Mapping[str, Any]],
    *,
    fixed: Mapping[str, Any],
) -> tuple[SearchSpace | None, list[str]]:
    """Joins and narrows the spaces; gives the problems back where there are any.

    Args:
        architectures: names, or None for all that can eat one of `features`.
        features: the feature sets of this sweep.
        narrowing: architecture name or "train" -> parameter -> `{kind: [low, high]}`,
            `{choice: [...]}`, or one fixed value.
        fixed: training parameters that the sweep sets itself and does not search.
    """
    problems: list[str] = []
    eats: dict[str, tuple[str, ...]] = {}
    for name in architectures or plugins.names(architecture_files):
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
        problems.append(f"architectures: none eats {', '.join(features)}")
    declared = {name: dict(load_architecture(name).SPACE) for name in eats}
    declared[TRAIN] = {k: v for k, v in TRAIN_SPACE.items() if k not in fixed}
    for owner, parameters in narrowing.items():
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
        declared = {owner: dict(load_architecture(owner).SPACE)}
    if not isinstance(parameters, Mapping):
        return [f"space.{owner}: should map parameters to ranges, but got {parameters!r}"]
    problems = []
    for name, wanted in parameters.items():
        where = f"space.{owner}.{name}"
        if name not in declared[owner]:
            problems.append(f"{where}: {unknown('parameter', name, declared[owner])}")
            continue
        try:
            declared[owner][name] = narrow(declared[owner][name], wanted)
        except ValueError as error:
            problems.append(f"{where}: {error}")
    return problems


def narrow(declared: BaseDistribution, wanted: Any) -> BaseDistribution:
    """The distribution that the YAML's `wanted` makes of what the architecture `declared`.

    Raises:
        ValueError: a kind that does not exist, bounds the wrong way round, wider than declared.
    """
    if not isinstance(wanted, Mapping):
        wanted = {"choice": [wanted]}
    if len(wanted) != 1 or next(iter(wanted)) not in KINDS:
        raise ValueError(f"should be one of {', '.join(KINDS)}, but got {dict(wanted)!r}")
    kind, values = next(iter(wanted.items()))
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ValueError(f"'{kind}' needs a list, but got {values!r}")
    for value in values:
        if not contains(declared, value):
            raise ValueError(f"{value!r} is outside what is declared: {describe(declared)}")
    if kind == "choice":
        return CategoricalDistribution(tuple(values))
    if isinstance(declared, CategoricalDistribution):
        raise ValueError(f"'{kind}' does not fit a choice: {describe(declared)}")
    if len(values) != 2 or values[0] > values[1]:
        raise ValueError(f"'{kind}' needs [low, high] with low <= high, but got {list(values)!r}")
    low, high = values
    if kind.endswith("int"):
        return IntDistribution(int(low), int(high), log=kind == "log_int")
    if isinstance(declared, IntDistribution):
        raise ValueError(f"'{kind}' does not fit whole numbers: {describe(declared)}")
    return FloatDistribution(float(low), float(high), log=kind == "log_float")


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Whether `value` can be drawn from `distribution`."""
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(distribution, IntDistribution) and value != int(value):
        return False
    return bool(distribution.low <= value <= distribution.high)  # type: ignore[attr-defined]


def describe(distribution: BaseDistribution) -> str:
    """A distribution in the words of the sweep file: `log_float: [0.0001, 0.003]`."""
    if isinstance(distribution, CategoricalDistribution):
        return f"choice: {list(distribution.choices)}"
    whole = isinstance(distribution, IntDistribution)
    log = "log_" if distribution.log else ""  # type: ignore[attr-defined]
    low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
    return f"{log}{'int' if whole else 'float'}: [{low}, {high}]"
