"""The schema of a sweep file: `SweepConfig` and its sections, with the default of every key.

`load_sweep_config` reads a file with the command line's overrides; `search.config.resolve` looks up
the names in it.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

import yaml
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from chorale.datasets import catalog, plugins
from chorale.datasets.config import (
    SECRET,
    NameList,
    config,
    read_config,
    split_names,
    to_plain_values,
)
from chorale.datasets.errors import UserError
from chorale.datasets.splitting.labels_config import LabelsConfig
from chorale.datasets.splitting.split_config import LeakKind, SplitConfig
from chorale.search.config import yaml_file
from chorale.search.config.limit_config import LimitConfig
from chorale.search.config.track_config import Track
from chorale.search.paths import Runs, StudyPaths, folder_of

AUTO_KIND = "auto"
"""The value of `ensemble.kind` that lets held-out rows choose."""


@config
class AuditConfig:
    """Which tracks may be used."""

    min_duration_s: Annotated[float, Field(ge=0)] = 0.1
    """shorter tracks are quarantined"""
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """the sweep stops where more than this share of the tracks is bad"""
    fingerprint: bool = True
    """find the same recording in several files: re-encoded, renamed or cut"""
    accept: Annotated[tuple[LeakKind, ...], BeforeValidator(split_names)] = ()
    """leaks that do not stop the sweep: duplicates (one recording on two sides of the split),
    labels (one recording under two labels), groups (one group on two sides), few_groups (a class
    whose tracks are all of one group is split by track, the others by group); the last two are
    accepted where split.by is track"""


@config
class SearchConfig:
    """How the study samples, prunes and ranks trials."""

    sampler: Literal["tpe", "random", "qmc", "grid", "gp", "nsga2"] = "tpe"
    """what proposes trials after the initial points, which are known-good and quasi-random: tpe or
    gp (models of earlier results), nsga2 (evolves good trials), random, qmc (quasi-random
    throughout); grid: every point of the space once, and nothing else"""
    pruner: Literal["successive_halving", "hyperband", "median", "none"] = "successive_halving"
    """what stops unpromising trials early"""
    objective: Literal["accuracy", "macro_f1", "mAP", "lwlrap"] = "accuracy"
    """the metric that is maximised, on the validation tracks; mAP, lwlrap and macro_f1 are those of
    tracks with several labels, for which accuracy means mAP"""
    second: Literal["none", "latency_ms", "n_parameters"] = "none"
    """a second objective that is minimised; trials are pruned by `objective` alone"""
    warm_start: Literal["none", "auto"] | NameList = "none"
    """try the best trials of these earlier studies on the same data first; auto: of all studies in
    the store"""
    seed: Annotated[int, Field(ge=0)] = 0
    """seed of the sampler, the networks and the batches"""


FOLDER = "folder"
"""The dataset that a folder of recordings is read as."""

STUDY_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
"""The pattern of a study's name, which is also that of its folder."""

DEFAULT_EPOCHS = 60
"""The epochs of one trial, unless the sweep file or its limit on time asks for fewer."""

DEFAULT_TRIALS, MOST_TRIALS = 64, 1_000
"""How many trials a search makes; where time is limited, up to the second number."""


@config
class BudgetConfig:
    """What the search may spend; whichever limit comes first ends it."""

    trials: Annotated[int, Field(ge=1)] | None = None
    """how many trials, including pruned and failed ones; null: 64, or with a limit on time as many
    as fit"""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """wall time, including the time that is reserved for the finalists"""
    core_hours: Annotated[float, Field(gt=0)] | None = None
    """hours of all trials, each times its CPU cores, including those reserved for the finalists"""
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    """hours of all trials, each times its GPUs, including those reserved for the finalists"""
    patience: Annotated[int, Field(ge=1)] | None = None
    """stop after this many finished trials in a row that did not improve the ensemble; null:
    never"""
    max_epochs: Annotated[int, Field(ge=1)] | None = None
    """the epochs of one trial; null: 60, or fewer where `minutes` does not allow so many"""

    @property
    def n_trials(self) -> int:
        """The most trials."""
        if self.trials is not None:
            return self.trials
        limits = (self.minutes, self.core_hours, self.gpu_hours)
        return DEFAULT_TRIALS if limits == (None, None, None) else MOST_TRIALS

    @property
    def n_epochs(self) -> int:
        """The epochs of one trial."""
        return DEFAULT_EPOCHS if self.max_epochs is None else self.max_epochs


DEFAULT_FINALISTS, MOST_FINALISTS = 6, 12
"""How many trials are retrained on every fold; where time decides, up to the second number."""

MOST_SEEDS = 5
"""The most seeds that a finalist is trained with where time decides."""


@config
class FinalistsConfig:
    """The best trials, retrained on every fold."""

    configs: Annotated[int, Field(ge=1)] | None = None
    """how many finalists; null: 6, and with budget.minutes up to 12 while time is left"""
    folds: Annotated[int, Field(ge=2)] = 5
    """how many group-disjoint folds the development tracks are split into"""
    seeds: Annotated[int, Field(ge=1)] | None = None
    """how often each finalist is retrained on each fold, each time with another seed; null: once,
    and with budget.minutes (without core_hours and gpu_hours) up to 5 times while time is left, the
    best finalists first"""

    @property
    def n_configs(self) -> int:
        """How many finalists, where time is not limited."""
        return DEFAULT_FINALISTS if self.configs is None else self.configs

    @property
    def most_configs(self) -> int:
        """The most finalists, as long as there is time."""
        return MOST_FINALISTS if self.configs is None else self.configs

    @property
    def n_seeds(self) -> int:
        """The seeds that every finalist is trained with."""
        return 1 if self.seeds is None else self.seeds

    def used_seeds(self, complete: Collection[int]) -> tuple[int, ...]:
        """The seeds of a finalist that are used, of those that are complete; none: it is left out.

        Where the sweep file sets their number, those are used or none.
        """
        if self.seeds is None:
            return tuple(sorted(complete))
        wanted = tuple(range(self.seeds))
        return wanted if set(wanted) <= set(complete) else ()


@config
class EnsembleConfig:
    """How the finalists are combined."""

    kinds: NameList = ("soft_vote", "weighted_vote", "greedy", "stacking", "fusion")
    """which ensembles are fitted, on out-of-fold rows; soft_vote always is"""
    kind: str = AUTO_KIND
    """which ensemble is reported as the result; auto: the one with the lowest calibrated log loss
    on held-out groups; never chosen by the test set"""
    members: Annotated[int, Field(ge=1)] = 8
    """the most finalists in an ensemble"""
    baselines: Literal["auto", "none"] = "auto"
    """auto: baselines that are not far worse out of fold may become members, and the best of them
    alone may be chosen as the result; none: they are only compared with"""
    coverage: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """how often the conformal set of classes contains the true class"""


@config
class ClusterConfig:
    """Where trials run."""

    address: str | None = None
    """processes: worker processes on this machine, without Ray; local: a private Ray on this
    machine; none: no Ray, one trial at a time; auto or host:port: join a running Ray cluster;
    ray://host:10001 or http://host:8265: submit as a job there, and follow it; default: inside a
    job its own cluster, else processes, or local where there may be a GPU or several processes
    train a trial"""
    allow_no_token: bool = False
    """also use a cluster that requires no token and that other machines can reach"""
    trials_at_once: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """auto: as many as there are cores, or GPU fractions, also on nodes that join later"""
    autoscaling: bool = False
    """whether the cluster starts nodes on demand: `trials_at_once`, which must then be a number,
    is requested, and trials that fit nowhere yet wait for a node"""
    cpus_per_trial: Annotated[int, Field(ge=1)] = 1
    """cores, and threads, of one trial; where several processes train it, of each process"""
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    """a fraction of a GPU, or several GPUs that train one trial together; auto: where the cluster
    has GPUs, a full one for the first trial of a kind, then the share that trials of this kind were
    measured to need, and none for tables of features"""
    workers_per_trial: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """how many processes train one trial together, each on a share of every batch; auto: one for
    each of its GPUs; a number is for CPUs"""
    stall_minutes: Annotated[float, Field(gt=0)] | None = 30.0
    """a trial that finishes no epoch in this time is ended, and retried from its last checkpoint,
    up to three times; null: never"""


def _without_password(url: str) -> str:
    """Refuses a URL with a password: a config is kept with its study, and sent with a job."""
    parts = urlsplit(url)
    if parts.password or "password" in parse_qs(parts.query):
        raise PydanticCustomError(
            SECRET,
            "holds a password, and others can read a sweep's settings; leave it out of the URL and "
            "put it into ~/.pgpass, or: export PGPASSWORD=...",
        )
    return url


@config
class SweepConfig:
    """A sweep. Everything but `dataset` has a good default."""

    dataset: dict[str, Any]
    """name: which dataset; and that dataset's own keys (root, ...)"""
    name: Annotated[str, Field(pattern=STUDY_NAME)] = "sweep"
    """name of the study; its folder is RUNS/NAME. Default: the file's name"""
    architectures: NameList | None = None
    """which architectures are searched; default: all that accept the features"""
    features: dict[str, dict[str, Any] | list[str] | str | None] | None = None
    """feature set -> its own keys; default: those of mel and mfcc_statistics that the architectures
    accept, or what the dataset brings ready-made"""
    labels: LabelsConfig = LabelsConfig()
    audit: AuditConfig = AuditConfig()
    split: SplitConfig = SplitConfig()
    space: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """narrows the search space: architecture (or train) -> parameter -> one value,
    {choice: [...]}, or {float | log_float | int | log_int: [low, high]}"""
    train: dict[str, Any] = Field(default_factory=dict)
    """fixed training settings: crop_s, patience, ...; these are not searched"""
    search: SearchConfig = SearchConfig()
    limit: LimitConfig = LimitConfig()
    budget: BudgetConfig = BudgetConfig()
    finalists: FinalistsConfig = FinalistsConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    cluster: ClusterConfig = ClusterConfig()
    runs: str = "runs"
    """the folder of all studies; or a bucket, s3://BUCKET/FOLDER or gs://..., which is synced
    while a sweep works in a local copy"""
    store: Annotated[str, AfterValidator(_without_password)] | None = None
    """the ledger's database URL; default: an SQLite file in `runs`; for a team
    postgresql+psycopg://USER@HOST/DATABASE, its password in ~/.pgpass or PGPASSWORD"""
    track: Track | None = None
    """an experiment tracker that gets the study's runs while it runs: mlflow, or
    {name: mlflow, uri: http://HOST:5000, experiment: NAME}; default of uri: MLFLOW_TRACKING_URI"""

    @property
    def paths(self) -> StudyPaths:
        """The study's files."""
        return self.runs_folder.study(self.name)

    @property
    def runs_folder(self) -> Runs:
        """The folder of all studies on this machine."""
        return Runs(folder_of(self.runs))

    @property
    def seeds_by_time(self) -> bool:
        """Whether finalists get further seeds while time is left.

        Not where hours of cores or GPUs are limited, of which these would be a part, nor where the
        model is: a network for each seed would count.
        """
        budget = self.budget
        by_hours = budget.core_hours is not None or budget.gpu_hours is not None
        by_time = self.finalists.seeds is None and budget.minutes is not None and not by_hours
        return by_time and not self.limit.is_set

    @property
    def about(self) -> dict[str, Any]:
        """The study's metadata besides its trials, JSON-ready."""
        return {
            "dataset": self.dataset.get("name"),
            "objective": self.search.objective,
            "second": self.search.second,
            "budget": to_plain_values(self.budget),
        }

    @property
    def ledger_url(self) -> str:
        """The database that holds the ledger."""
        return self.store or self.runs_folder.ledger_url


def load_sweep_config(file: str, dotted: Mapping[str, Any]) -> SweepConfig:
    """Reads a sweep file (or a shipped sweep by its name) with the command line's overrides.

    Raises:
        UserError: there is no such file, it is not YAML, or it has problems; all are listed.
    """
    return read_config(SweepConfig, read_sweep_values(file, dotted), where=file)


def read_sweep_values(file: str, dotted: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a sweep file with overrides, with `name` set; not yet validated.

    Instead of a file, a folder of recordings or the name of a dataset stands for a sweep of it with
    the defaults.

    Raises:
        UserError: there is no such file, or it is not YAML.
    """
    name, values = _of_dataset(file) or _of_file(file)
    values = yaml_file.merge_overrides(_with_dataset(values), _with_dataset(dotted))
    values.setdefault("name", re.sub(r"[^A-Za-z0-9_.-]", "-", name).lstrip("_.-") or "sweep")
    return values


def _with_dataset(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, where `dataset` may be the name of a dataset or a folder of recordings.

    Raises:
        UserError: it is neither.
    """
    named = values.get("dataset")
    if not isinstance(named, str):
        return dict(values)
    known, folder = plugins.plugin_names(catalog), Path(named).expanduser()
    if named in known:
        return {**values, "dataset": {"name": named}}
    if folder.is_dir():
        return {**values, "dataset": {"name": FOLDER, "root": str(folder)}}
    raise UserError(
        f"dataset: there is no dataset and no folder '{named}'; type --dataset NAME or "
        f"--dataset FOLDER; datasets: {', '.join(known)}"
    )


def _of_file(file: str) -> tuple[str, dict[str, Any]]:
    """The name and the values of a sweep file."""
    path = yaml_file.find_sweep_file(file)
    return path.stem, yaml_file.read_yaml(path)


def _of_dataset(name: str) -> tuple[str, dict[str, Any]] | None:
    """The name and the values of a sweep of a dataset or folder; None for anything else.

    Where a folder has the name of a shipped sweep or of a dataset, that name is meant: `./demo` is
    the folder.
    """
    folder = Path(name).expanduser()
    if folder.is_file() or yaml_file.is_shipped_sweep(name):
        return None
    if name in plugins.plugin_names(catalog):
        return name, {"dataset": {"name": name}}
    if folder.is_dir():
        return folder.resolve().name, {"dataset": {"name": FOLDER, "root": str(folder)}}
    return None


def sweep_yaml_text(config: SweepConfig) -> str:
    """The config as YAML with every default written out; `load_sweep_config` reads it back."""
    return yaml.safe_dump(to_plain_values(config), sort_keys=False, allow_unicode=True)
