"""The conditional search space: the architectures' spaces, narrowed by the sweep file, in one.

`architecture` is a categorical parameter; an architecture's own parameters exist only under it, and
parameters that depend on another's value only under that value (`train.momentum` needs
`train.optimizer: sgd`).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from chorale.datasets import plugins
from chorale.datasets.base import Layout
from chorale.datasets.config import read_config
from chorale.datasets.declarations import read_declarations
from chorale.datasets.errors import UserError, unknown_name_error
from chorale.datasets.features import layout_of, with_layouts
from chorale.lightning_models import architectures as architecture_files
from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    Distribution,
    FloatDistribution,
    IntDistribution,
)
from chorale.lightning_models.train_config import (
    EMBEDDING_SPACE,
    REQUIRED_LAYOUTS,
    REQUIRED_PARAMETER,
    TRAIN_SPACE,
    VIEWS_SPACE,
    TrainConfig,
)
from chorale.search.config.encoder_choices import ENCODER_LAYOUTS, FINE_TUNE
from chorale.search.config.narrowing import contains, narrow_distribution

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial

Pick = Callable[[str, Distribution], Any]
"""Picks the value of a parameter, which is given by its full name: `cnn.width`, `train.lr`."""

DECLARED_NAMES = ("LAYOUTS", "HEAVY", "COST", "Config", "SPACE", "DEFAULTS", "check")
"""The names that an architecture's file defines (see `lightning_models.base.Architecture`)."""

ARCHITECTURE = "architecture"
TRAIN = "train"


@dataclass(frozen=True)
class Candidate:
    """One point of the space: an architecture, the features it gets, and both configs' values."""

    architecture: str
    features: str
    config: Mapping[str, Any]
    train: Mapping[str, Any]


@dataclass(frozen=True)
class SearchSpace:
    """The conditional search space: the parameters of each architecture and of the training.

    `features` maps each architecture to the sweep's feature sets that it accepts; `fixed` holds the
    training values that the sweep sets and does not search. The feature sets of `views` have
    several views of each training track, between which and the recording alone trials choose.
    """

    features: Mapping[str, tuple[str, ...]]
    spaces: Mapping[str, Mapping[str, Distribution]]
    fixed: Mapping[str, Any]
    views: tuple[str, ...] = ()

    @property
    def architectures(self) -> tuple[str, ...]:
        """The names that are searched."""
        return tuple(self.features)

    def reads_frames(self, architecture: str) -> bool:
        """Whether it reads frames of spectrograms or embeddings, and not only tables."""
        return any(layout_of(name) != "table" for name in self.features[architecture])

    def suggest(self, trial: "BaseTrial") -> Candidate:
        """Draws a candidate; `trial` suggests only the parameters that exist under its choices.

        A stored trial, which has its values already, gives the same candidate again.
        """
        return self.candidate(lambda name, distribution: draw_value(trial, name, distribution))

    def candidate(self, pick: Pick) -> Candidate:
        """The candidate with the values of `pick`, called once per existing parameter, in order."""
        architecture = str(pick(ARCHITECTURE, CategoricalDistribution(self.architectures)))
        accepted = self.features[architecture]
        features = accepted[0]
        if len(accepted) > 1:
            features = str(pick(f"{architecture}.features", CategoricalDistribution(accepted)))
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
        accepted = self.features[architecture]
        found: dict[str, Distribution] = {}
        if len(accepted) > 1:
            found[f"{architecture}.features"] = CategoricalDistribution(accepted)
        for name, distribution in self.spaces[architecture].items():
            found[f"{architecture}.{name}"] = distribution
        for name, distribution in _parents_first(self.spaces[TRAIN]):
            if any(self._applies(name, features) for features in accepted):
                found[f"{TRAIN}.{name}"] = distribution
        return found

    def names(self) -> tuple[str, ...]:
        """Every parameter of the space by its full name, in alphabetical order."""
        every = {ARCHITECTURE}.union(*(self._flat(a) for a in self.architectures))
        return tuple(sorted(every))

    def _exists(self, name: str, features: str, train: Mapping[str, Any]) -> bool:
        """Whether a training parameter applies to these features and earlier values."""
        if not self._applies(name, features):
            return False
        if name not in REQUIRED_PARAMETER:
            return True
        parent, values = REQUIRED_PARAMETER[name]
        return train.get(parent, self.fixed.get(parent)) in values

    def _applies(self, name: str, feature: str) -> bool:
        """Whether a training parameter exists for a feature set: by its layout and its views."""
        if name in VIEWS_SPACE:
            return feature in self.views
        return name not in REQUIRED_LAYOUTS or layout_of(feature) in REQUIRED_LAYOUTS[name]

    def defaults(self, costs: Mapping[str, float] = MappingProxyType({})) -> list[dict[str, Any]]:
        """The architectures' known-good points: the first of each, then the second of each, etc.

        Among the first ones, etc., those of lower `costs` come first, and unknown ones last. Each
        point of an architecture that reads embeddings comes once for each encoder, as encoders
        differ by more than settings do. A value that the sweep file's narrowing excludes is left to
        the sampler.
        """
        points: list[tuple[tuple[int, float], dict[str, Any]]] = []
        for architecture in self.architectures:
            module = architecture_declarations(architecture)
            cost = costs.get(architecture, math.inf)
            for rank, default in enumerate(module.DEFAULTS):
                for features in self._default_features(architecture, default):
                    point = self._point(architecture, module.Config(), default, features)
                    points.append(((rank, cost), point))
        return [point for _, point in sorted(points, key=lambda p: p[0])]

    def _default_features(self, architecture: str, default: Mapping[str, Any]) -> tuple[str, ...]:
        """The feature sets for which a known-good point is tried."""
        accepted = self.features[architecture]
        encoders = tuple(name for name in accepted if layout_of(name) in ENCODER_LAYOUTS)
        preferred = str(default.get("features", accepted[0]))
        return encoders if preferred in encoders else (preferred,)

    def _point(
        self, architecture: str, config: Any, default: Mapping[str, Any], features: str
    ) -> dict[str, Any]:
        point: dict[str, Any] = {"architecture": architecture}
        if len(self.features[architecture]) > 1 and features in self.features[architecture]:
            point[f"{architecture}.features"] = features
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


def draw_value(trial: "BaseTrial", name: str, distribution: Distribution) -> Any:
    """The value that `trial` has, or now draws, for the parameter `name`."""
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
    return sorted(space.items(), key=lambda item: item[0] in REQUIRED_PARAMETER)


def architecture_declarations(name: str) -> Any:
    """What an architecture's file declares, read without importing PyTorch.

    Raises:
        UserError: there is none of that name; the error suggests the nearest.
    """
    return read_declarations(architecture_files, name, kind="architecture", names=DECLARED_NAMES)


def light_architectures() -> list[str]:
    """The names of all architectures that a sweep searches by default."""
    names = plugins.plugin_names(architecture_files)
    return [name for name in names if not getattr(architecture_declarations(name), "HEAVY", False)]


def relative_cost(architecture: str) -> float:
    """The declared cost of training an architecture, relative to `cnn`."""
    return float(getattr(architecture_declarations(architecture), "COST", 1.0))


def make_space(
    architectures: Sequence[str] | None,
    features: Sequence[str],
    narrowing: Mapping[str, Mapping[str, Any]],
    *,
    fixed: Mapping[str, Any],
    views: tuple[str, ...] = (),
) -> tuple[SearchSpace | None, list[str]]:
    """Joins and narrows the spaces; returns the problems instead where there are any.

    Args:
        architectures: names, or None for all light ones that accept one of `features`.
        features: the feature sets of this sweep.
        narrowing: architecture name or "train" -> parameter -> `{kind: [low, high]}`,
            `{choice: [...]}`, or one fixed value.
        fixed: training parameters that the sweep sets and does not search.
        views: the feature sets with several views of each training track.
    """
    problems: list[str] = []
    accepted: dict[str, tuple[str, ...]] = {}
    if architectures is not None and not architectures:
        problems.append("architectures: is empty; name at least one, or leave it out for all")
    for name in light_architectures() if architectures is None else architectures:
        try:
            able = architecture_declarations(name).LAYOUTS
        except UserError as error:
            problems.append(f"architectures: {error}")
            continue
        fitting = [feature for feature in features if layout_of(feature) in able]
        if fitting:  # in an order that the keys of the sweep file have no part in
            accepted[name] = tuple(sorted(fitting, key=lambda f: (able.index(layout_of(f)), f)))
        elif architectures:
            problems.append(
                f"architectures: '{name}' accepts {' or '.join(with_layouts(able)) or 'a table'}, "
                f"but this sweep computes {', '.join(features)}; {_feature_hint(able)}"
            )
    if not accepted and not problems:
        what = ", ".join(features) or "an empty list of features"
        problems.append(f"architectures: none accepts {what}")
    spaces: dict[str, dict[str, Distribution]]
    spaces = {name: dict(architecture_declarations(name).SPACE) for name in accepted}
    of_training = dict(TRAIN_SPACE)
    if any(layout_of(feature) == "embedding" for sets in accepted.values() for feature in sets):
        of_training |= EMBEDDING_SPACE
    if any(feature in views for sets in accepted.values() for feature in sets):
        of_training |= VIEWS_SPACE
    spaces[TRAIN] = {k: v for k, v in of_training.items() if k not in fixed}
    for owner, parameters in narrowing.items():
        if owner == TRAIN and isinstance(parameters, Mapping):
            both = [name for name in parameters if name in fixed]
            problems += [
                f"space.train.{n}: is fixed by train.{n}; remove one of them" for n in both
            ]
            parameters = {n: wanted for n, wanted in parameters.items() if n not in both}
        problems += _narrow_all(spaces, owner, parameters)
    return (None if problems else SearchSpace(accepted, spaces, fixed, views)), problems


def _feature_hint(layouts: tuple[Layout, ...]) -> str:
    """What to type for an architecture that accepts `layouts`."""
    if layouts[0] == "block_input":
        return f"add --features.encoder '{{name: musicnn, {FINE_TUNE}: 1}}'"
    names = with_layouts(layouts)
    return f"add --features.{names[0]} '{{}}'" if names else "use a dataset of tables"


def _narrow_all(
    spaces: dict[str, dict[str, Distribution]], owner: str, parameters: Any
) -> list[str]:
    """Narrows `spaces[owner]` in place; returns the problems.

    The space of an architecture that this sweep leaves out is also checked, but not used.
    """
    if owner not in spaces:
        if not plugins.has_plugin(architecture_files, owner):
            known = plugins.plugin_names(architecture_files)
            return [f"space: {unknown_name_error('architecture', owner, [*known, TRAIN])}"]
        spaces = {owner: dict(architecture_declarations(owner).SPACE)}
    if not isinstance(parameters, Mapping):
        return [f"space.{owner}: should map parameters to ranges, but got {parameters!r}"]
    problems = []
    for name, wanted in parameters.items():
        where = f"space.{owner}.{name}"
        try:
            if name in spaces[owner]:
                spaces[owner][name] = narrow_distribution(spaces[owner][name], wanted)
            elif owner != TRAIN and name in _config_fields(owner):
                spaces[owner][name] = _listed_values(owner, name, wanted)
            else:
                raise unknown_name_error("parameter", name, spaces[owner])
        except (ValueError, UserError) as error:
            problems.append(f"{where}: {error}")
    return problems


def _config_fields(architecture: str) -> list[str]:
    return [
        field.name for field in dataclasses.fields(architecture_declarations(architecture).Config)
    ]


def _listed_values(architecture: str, name: str, wanted: Any) -> Distribution:
    """The values that a sweep lists for a field outside the search space, such as `weights`.

    Raises:
        UserError: the architecture does not accept one of them.
        ValueError: a range, where only single values can be checked.
    """
    values = wanted.get("choice") if isinstance(wanted, Mapping) else [wanted]
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ValueError(f"should be one value, or {{choice: [...]}}, but got {wanted!r}")
    module = architecture_declarations(architecture)
    for value in values:
        config = read_config(module.Config, {name: value}, where=f"architecture '{architecture}'")
        if hasattr(module, "check"):
            module.check(config)
    return CategoricalDistribution(tuple(values))


def default_value(name: str) -> Any:
    """The default of a parameter, which is given by its full name: `cnn.width`."""
    owner, _, parameter = name.partition(".")
    config = TrainConfig() if owner == TRAIN else architecture_declarations(owner).Config()
    return getattr(config, parameter)
