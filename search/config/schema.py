"""SweepConfig: everything a sweep can be told, composed of the configs beside the code they set.

`load` reads a file with the command line's overrides; `search.config.resolve` looks up what it
names.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

import yaml
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from chorale.datasets.config import SECRET, config, plain, read
from chorale.datasets.splitting.split_config import Kind, SplitConfig
from chorale.search.config import yaml_file
from chorale.search.paths import Runs, StudyPaths, folder_of

AUTO = "auto"
"""Said of `ensemble.kind`: chosen on held-out rows."""


@config
class Audit:
    """Which tracks are fit for use."""

    min_duration_s: Annotated[float, Field(ge=0)] = 0.1
    """shorter tracks are quarantined"""
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """the sweep stops where more than this share of the tracks is bad"""
    fingerprint: bool = True
    """look for the same recording in several files, re-encoded, renamed or cut"""
    accept: tuple[Kind, ...] = ()
    """leaks that do not stop the sweep: duplicates (one recording on two sides of the split),
    labels (one recording under two labels), groups (one group on two sides), few_groups (a class
    whose tracks are all of one group); the last two are accepted where split.by is track"""


@config
class Search:
    """How the study looks for good trials."""

    sampler: Literal["tpe", "random", "qmc", "grid", "gp", "nsga2"] = "tpe"
    """what proposes trials, after known-good and quasi-random ones: tpe or gp (models of what did
    well), nsga2 (children of good trials), random, qmc (quasi-random throughout); grid: every
    point of the space once, and nothing else"""
    pruner: Literal["successive_halving", "hyperband", "median", "none"] = "successive_halving"
    """what stops a trial that is not worth its budget"""
    objective: Literal["accuracy", "macro_f1"] = "accuracy"
    """what is made as large as possible, on the validation tracks"""
    second: Literal["none", "latency_ms", "n_parameters"] = "none"
    """what is made as small as possible besides; trials are pruned by `objective` alone"""
    warm_start: Literal["none", "auto"] | tuple[str, ...] = "none"
    """try the best trials of earlier studies on the same data first; auto: of all in the store"""
    seed: Annotated[int, Field(ge=0)] = 0
    """of the sampler, the networks and the batches"""


@config
class Budget:
    """What the search may spend; whichever limit comes first ends it."""

    trials: Annotated[int, Field(ge=1)] = 64
    """how many trials, pruned and failed ones counted in"""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """wall time, with the time that the finalists will need set aside"""
    core_hours: Annotated[float, Field(gt=0)] | None = None
    """hours of all trials, each times its CPU cores; the finalists' hours set aside"""
    gpu_hours: Annotated[float, Field(gt=0)] | None = None
    """hours of all trials, each times its GPUs; the finalists' hours set aside"""
    patience: Annotated[int, Field(ge=1)] | None = None
    """end after so many finished trials in a row that did not help the ensemble; null: never"""
    max_epochs: Annotated[int, Field(ge=1)] = 60
    """of one trial"""


@config
class Finalists:
    """The best trials, retrained on every fold."""

    configs: Annotated[int, Field(ge=1)] = 6
    """how many"""
    folds: Annotated[int, Field(ge=2)] = 5
    """into how many group-disjoint folds the development tracks are cut"""
    seeds: Annotated[int, Field(ge=1)] = 1
    """how often each is retrained on each fold"""


@config
class Ensemble:
    """How the finalists are combined."""

    kinds: tuple[str, ...] = ("soft_vote", "weighted_vote", "greedy", "stacking", "fusion")
    """which ensembles are fitted, on out-of-fold rows; soft_vote always is"""
    kind: str = AUTO
    """which one the headline is about; auto: the one whose calibrated log loss is the lowest on
    held-out groups; never chosen by the test set"""
    members: Annotated[int, Field(ge=1)] = 8
    """at most so many finalists"""
    baselines: Literal["auto", "none"] = "auto"
    """auto: baselines that are about as good out of fold are combined with the finalists, and the
    best of them alone may be what the headline is about; none: they are only compared with"""
    coverage: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """how often a set of classes, given instead of a guess, shall hold the true one"""


@config
class Cluster:
    """Where trials run."""

    address: str | None = None
    """processes: this machine's processors, without Ray; local: a private Ray on this machine;
    none: no Ray, one trial at a time; auto or host:port: a Ray cluster that runs;
    ray://host:10001 or http://host:8265: as a job there, which is followed; default: the cluster
    whose job this is, or else processes, or local where there may be a GPU or several processes
    train a trial"""
    allow_no_token: bool = False
    """use also a cluster that asks nobody for a token and that other machines can reach"""
    trials_at_once: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """auto: as many as there are cores, or GPU fractions, also on nodes that join later"""
    autoscaling: bool = False
    """whether the cluster starts nodes on demand: `trials_at_once`, then a number, are asked for,
    and those that fit nowhere yet wait for a node"""
    cpus_per_trial: Annotated[int, Field(ge=1)] = 1
    """cores, and threads, of one trial; where several processes train it, of each"""
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    """a part of one, or several, on which a trial is then trained together; auto: where the cluster
    has GPUs, a whole one for the first trial of a kind, then as much as such were measured to need,
    and none for tables of features"""
    workers_per_trial: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """how many processes train one trial together, each a share of every batch; auto: one for each
    of its GPUs; a number is for processors"""
    stall_minutes: Annotated[float, Field(gt=0)] | None = 30.0
    """a trial that finishes no epoch for so long is ended, and tried again from its last state, up
    to three times; null: never"""


def _without_password(url: str) -> str:
    """A config is kept with its study, and travels with a job."""
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
    """A whole sweep. Everything but `dataset` has a good default."""

    dataset: dict[str, Any]
    """name: which dataset, and that dataset's own keys (root, ...)"""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "sweep"
    """of the study; its folder is RUNS/NAME. Default: the file's name"""
    architectures: tuple[str, ...] | None = None
    """which are searched; default: all that can eat the features"""
    features: dict[str, dict[str, Any] | None] | None = None
    """feature set -> its own keys; default: mel, or what the dataset brings ready-made"""
    audit: Audit = Audit()
    split: SplitConfig = SplitConfig()
    space: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """narrows what may be searched: architecture (or train) -> parameter -> one value,
    {choice: [...]}, or {float | log_float | int | log_int: [low, high]}"""
    train: dict[str, Any] = Field(default_factory=dict)
    """training settings that are fixed: crop_s, patience, ...; one that stands here is not
    searched"""
    search: Search = Search()
    budget: Budget = Budget()
    finalists: Finalists = Finalists()
    ensemble: Ensemble = Ensemble()
    cluster: Cluster = Cluster()
    runs: str = "runs"
    """the folder of all studies; or a bucket, s3://BUCKET/FOLDER or gs://..., which is kept up to
    date while a sweep works in a copy on its machine"""
    store: Annotated[str, AfterValidator(_without_password)] | None = None
    """the ledger's database URL; default: an SQLite file in `runs`; for a team
    postgresql+psycopg://USER@HOST/DATABASE, its password in ~/.pgpass or PGPASSWORD"""

    @property
    def paths(self) -> StudyPaths:
        """The study's files."""
        return self.runs_folder.study(self.name)

    @property
    def runs_folder(self) -> Runs:
        """The folder of all studies on this machine."""
        return Runs(folder_of(self.runs))

    @property
    def about(self) -> dict[str, Any]:
        """What is said of the study besides its trials, JSON-ready."""
        return {
            "dataset": self.dataset.get("name"),
            "objective": self.search.objective,
            "second": self.search.second,
            "budget": plain(self.budget),
        }

    @property
    def ledger_url(self) -> str:
        """The database that holds the ledger."""
        return self.store or self.runs_folder.ledger_url


def load(file: str, dotted: Mapping[str, Any]) -> SweepConfig:
    """Reads a sweep file (or a shipped sweep by its name) with the command line's overrides.

    Raises:
        UserError: there is no such file, it is not YAML, or it has problems; all are listed.
    """
    return read(SweepConfig, read_values(file, dotted), where=file)


def read_values(file: str, dotted: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a sweep file with overrides, named after the file; not yet checked.

    Raises:
        UserError: there is no such file, or it is not YAML.
    """
    path = yaml_file.find(file)
    values = yaml_file.merge(yaml_file.read_yaml(path), dict(dotted))
    values.setdefault("name", re.sub(r"[^A-Za-z0-9_.-]", "-", path.stem))
    return values


def to_yaml(config: SweepConfig) -> str:
    """The whole config with every default written out; `load` reads it back."""
    return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
