"""Resolves a sweep's config: looks up its dataset, features and architectures, and validates them.

Everything that can be checked without reading the data is checked here, and all problems are listed
at once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import ModuleType
from typing import Any

from chorale.datasets import catalog, plugins
from chorale.datasets import features as feature_files
from chorale.datasets.config import problems_error, to_plain_values, validate_config
from chorale.datasets.errors import UserError, unknown_name_error
from chorale.lightning_models import architectures as architecture_files
from chorale.lightning_models.train_config import TrainConfig
from chorale.search import ensembles as ensemble_files
from chorale.search.config import grid
from chorale.search.config.encoder_choices import (
    FINE_TUNE,
    fine_tune_problem,
    with_encoders,
)
from chorale.search.config.encoder_views import VIEWS, take_views, views_problems
from chorale.search.config.schema import AUTO_KIND, EnsembleConfig, SweepConfig, read_sweep_values
from chorale.search.config.space import (
    Candidate,
    SearchSpace,
    architecture_declarations,
    make_space,
)

DEFAULT_FEATURES = ("mel", "mfcc_statistics")
"""What a sweep of audio computes by default: spectrograms, and a table for networks that train in
seconds."""


@dataclass(frozen=True)
class Choices:
    """What is chosen for a sweep where its file leaves it open; None where nothing is."""

    max_epochs: int | None = None
    features: Collection[str] | None = None
    architectures: Collection[str] | None = None
    crops: Mapping[str, int] | None = None
    """architecture -> `train.crops_per_track`"""


@dataclass(frozen=True)
class ResolvedSweep:
    """A sweep's config with the dataset, feature sets and search space that it names."""

    sweep: SweepConfig
    dataset: ModuleType
    dataset_config: Any
    feature_values: Mapping[str, Mapping[str, Any]]
    """feature set -> the values of its config that were given"""
    space: SearchSpace
    views: Mapping[str, int] = field(default_factory=dict)
    """feature set -> the number of views of each training track, for those with several"""
    crops: Mapping[str, int] = field(default_factory=dict)
    """architecture -> `train.crops_per_track`, where time allows its short epochs more crops"""

    @cached_property
    def features(self) -> Mapping[str, Any]:
        """Feature set -> its config, which is empty where the dataset brings it ready-made.

        Evaluated lazily, once the tracks are read: the libraries of feature sets take long to
        import.
        """
        if self.dataset.INFO.features:
            return {name: {} for name in self.feature_values}
        return {
            name: feature_files.load_feature_set(name).Config(**values)
            for name, values in self.feature_values.items()
        }

    def architecture_config(self, candidate: Candidate) -> Any:
        """The candidate's values, and what its features give, as its architecture's `Config`."""
        of_features = getattr(self.features[candidate.features], "network_values", {})
        module = architecture_declarations(candidate.architecture)
        return module.Config(**{**candidate.config, **of_features})

    def network_config(self, candidate: Candidate) -> dict[str, Any]:
        """`architecture_config` as plain values, as a run gets them."""
        return to_plain_values(self.architecture_config(candidate))

    def train_config(self, candidate: Candidate) -> TrainConfig:
        """The candidate's training values, joined with the sweep's fixed ones."""
        fixed = {**self.sweep.train, "max_epochs": self.sweep.budget.n_epochs}
        if candidate.architecture in self.crops:
            fixed["crops_per_track"] = self.crops[candidate.architecture]
        return TrainConfig(**{**fixed, **candidate.train})


def resolve_file(file: str, dotted: Mapping[str, Any]) -> ResolvedSweep:
    """Reads a sweep file (or a shipped sweep by its name) with overrides, and looks up its names.

    Raises:
        UserError: there is no such file, or it has problems; all of them are listed, those of the
            file's own keys and those of what its names stand for.
    """
    values = read_sweep_values(file, dotted)
    sweep, problems = validate_config(SweepConfig, values)
    if sweep is None:
        bad = _keys(problems)
        rest = {key: value for key, value in values.items() if key not in bad}
        sweep, _ = validate_config(SweepConfig, {"dataset": {}, **rest})
    if sweep is None:
        raise problems_error(problems, where=file)
    return resolve(sweep, where=file, known_problems=problems)


def resolve(sweep: SweepConfig, *, where: str, known_problems: Sequence[str] = ()) -> ResolvedSweep:
    """Looks up everything that `sweep` names.

    Args:
        sweep: the sweep's config.
        where: its file, for the message.
        known_problems: those of the file; of keys that are wrong already, no more are listed.

    Raises:
        UserError: lists every unknown name and every bad value, before any data is read.
    """
    problems: list[str] = []
    dataset, dataset_config = _dataset(sweep.dataset, problems)
    features, views = _features(sweep, dataset, problems)
    _, bad_train = validate_config(TrainConfig, sweep.train, prefix="train.")
    problems += bad_train
    if "max_epochs" in sweep.train:
        problems.append("train.max_epochs: is set by budget.max_epochs; remove it here")
    bad_views = views_problems(views, sweep.train, sweep.space)
    problems += bad_views
    space, bad_space = make_space(
        sweep.architectures, tuple(features), sweep.space, fixed=sweep.train, views=tuple(views)
    )
    problems += [] if bad_views else bad_space
    if space is not None and sweep.search.sampler == "grid":
        problems += grid.grid_problems(space)
    problems += ensemble_problems(sweep.ensemble)
    bad = _keys(known_problems)
    problems = [*known_problems, *(one for one in problems if not bad & _keys([one]))]
    if problems or dataset is None or space is None:
        raise problems_error(problems, where=where)
    return ResolvedSweep(sweep, dataset, dataset_config, features, space, views)


def _keys(problems: Sequence[str]) -> set[str]:
    """The top-level keys of a sweep file that problems are about."""
    return {problem.split(":")[0].split(".")[0] for problem in problems}


def for_labels(resolved: ResolvedSweep, *, multi_label: bool) -> ResolvedSweep:
    """The sweep with the objective of its data: of several labels the mAP, instead of the accuracy.

    Raises:
        UserError: the objective is one of several labels, and each track has one.
    """
    sweep = resolved.sweep
    objective = sweep.search.objective
    if not multi_label:
        if objective in ("mAP", "lwlrap"):
            raise UserError(
                f"search.objective={objective} is a metric of tracks with several labels, but each "
                f"track has one; type --search.objective accuracy or macro_f1"
            )
        return resolved
    if objective != "accuracy":
        return resolved
    search = replace(sweep.search, objective="mAP")
    return replace(resolved, sweep=replace(sweep, search=search))


def kept_choices(resolved: ResolvedSweep, fingerprint: Mapping[str, Any]) -> Choices:
    """The epochs, architectures and features that a resumed study was started with.

    As far as the sweep file leaves them open: what it sets is compared with the study's.
    """
    sweep = resolved.sweep
    features = architectures = None
    if sweep.features is None:
        # others were left out for lack of time, or the default was another then
        features = fingerprint.get("features", {}).keys() & resolved.feature_values.keys()
    if sweep.architectures is None:
        architectures = fingerprint.get("space", {}).keys() & {*resolved.space.architectures}
    epochs = sweep.budget.max_epochs or fingerprint.get("number of epochs")
    crops = fingerprint.get("crops per track", {})
    return Choices(epochs, features or None, architectures or None, crops)


def with_choices(resolved: ResolvedSweep, choices: Choices) -> ResolvedSweep:
    """The sweep with what was chosen, and the architectures that accept one of its feature sets."""
    sweep, space, values = resolved.sweep, resolved.space, resolved.feature_values
    kept = values.keys() if choices.features is None else choices.features
    names = space.architectures if choices.architectures is None else choices.architectures
    accepted = {
        name: tuple(one for one in sets if one in kept) for name, sets in space.features.items()
    }
    features = {name: sets for name, sets in accepted.items() if sets and name in names}
    left = accepted.keys() - features.keys()
    spaces = {owner: one for owner, one in space.spaces.items() if owner not in left}
    epochs = sweep.budget.max_epochs if choices.max_epochs is None else choices.max_epochs
    return replace(
        resolved,
        sweep=replace(sweep, budget=replace(sweep.budget, max_epochs=epochs)),
        feature_values={name: one for name, one in values.items() if name in kept},
        space=replace(space, features=features, spaces=spaces),
        crops=resolved.crops if choices.crops is None else choices.crops,
    )


def default_features(architectures: Sequence[str] | None) -> tuple[str, ...]:
    """The feature sets of a sweep of audio that names none: those that its architectures accept."""
    if architectures is None:
        return DEFAULT_FEATURES
    known = [name for name in architectures if plugins.has_plugin(architecture_files, name)]
    layouts = {layout for name in known for layout in architecture_declarations(name).LAYOUTS}
    able = tuple(name for name in DEFAULT_FEATURES if feature_files.layout_of(name) in layouts)
    return able or DEFAULT_FEATURES[:1]


def ensemble_problems(wanted: EnsembleConfig) -> list[str]:
    """One line for each unknown kind of ensemble."""
    kinds = dict.fromkeys([*wanted.kinds, *({wanted.kind} - {AUTO_KIND})])
    bad = [kind for kind in kinds if not plugins.has_plugin(ensemble_files, kind)]
    known = plugins.plugin_names(ensemble_files)
    return [f"ensemble: {unknown_name_error('ensemble', kind, known)}" for kind in bad]


def _dataset(values: Mapping[str, Any], problems: list[str]) -> tuple[ModuleType | None, Any]:
    options = dict(values)
    name = options.pop("name", None)
    known = plugins.plugin_names(catalog)
    if name is None:
        problems.append(f"dataset.name: is missing; choose from: {', '.join(known)}")
        return None, None
    try:
        module = plugins.load_plugin(catalog, str(name), kind="dataset")
    except UserError as error:
        problems.append(f"dataset.name: {error}")
        return None, None
    made, bad = validate_config(module.Config, options, prefix="dataset.")
    problems += bad
    return module, made


def _features(
    sweep: SweepConfig, dataset: ModuleType | None, problems: list[str]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Feature set -> the validated values of its config; and its views, where it has several."""
    ready, wanted = () if dataset is None else dataset.INFO.features, sweep.features
    if wanted is None:
        wanted = dict.fromkeys(ready or default_features(sweep.architectures))
    if not wanted:
        known = ", ".join(ready or plugins.plugin_names(feature_files))
        problems.append(f"features: is empty; name at least one of: {known}")
    given: dict[str, Any] = {}
    views: dict[str, int] = {}
    wrong, stated = set[str](), set[str]()
    for name, values in with_encoders(wanted).items():
        if ready:
            if name not in ready:
                problems.append(
                    f"features.{name}: this dataset brings no audio to compute it from, but "
                    f"{' and '.join(ready)} ready-made; leave `features` out of the sweep file "
                    f"(without one, `demo` is read)"
                )
                continue
            if values:
                problems.append(
                    f"features.{name}: is ready-made and has no settings; leave them out"
                )
            given[name] = {}
            continue
        try:
            module = feature_files.feature_set_declarations(name, ["Config"])
        except UserError as error:
            problems.append(f"features: {error}")
            continue
        if values is not None and not isinstance(values, Mapping):
            names = " or name encoders of `chorale encoder list`" if name == "encoder" else ""
            problems.append(
                f"features.{name}: should map keys to values{names}, but got {values!r}"
            )
            continue
        if values and (problem := fine_tune_problem(name, values)):
            problems.append(problem)
            values = {key: value for key, value in dict(values).items() if key != FINE_TUNE}
        try:
            given[name], n_views = take_views(name, values or {})
        except ValueError as error:
            given[name], n_views = {}, 1
            problems.append(f"features.{name}.{VIEWS}: {error}")
            wrong.add(name)
            continue
        views |= {name: n_views} if n_views > 1 else {}
        if any(part in wrong for part in given[name].get("parts", ())):
            continue  # what is wrong with the part is stated already
        _, bad = validate_config(module.Config, given[name], prefix=f"features.{name}.")
        for problem in bad:  # feature sets that were made of one key have the same ones
            why = problem.partition(": ")[2]
            if name in wanted or why not in stated:
                problems.append(problem)
                stated |= set() if name in wanted else {why}
        wrong |= {name} if bad else set()
    # where none is possible, the other keys are checked as if it were left out
    return given or {name: {} for name in ready}, views
