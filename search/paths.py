"""The only file that spells file names: where everything that a sweep leaves behind lies.

Every other file asks here, so a layout can change in one place.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import ClassVar

BUCKET_URL = re.compile(r"^[a-z][a-z0-9+]*://")


@dataclass(frozen=True)
class Runs:
    """The folder of all studies: `runs/` unless told otherwise."""

    root: Path

    @property
    def ledger_url(self) -> str:
        """The default ledger, an SQLite file beside the studies."""
        from sqlalchemy import URL

        # made and not pasted: a folder's name may hold what means something in a URL
        return URL.create("sqlite", database=str(self.ledger)).render_as_string()

    @property
    def ledger(self) -> Path:
        """That file."""
        return self.root / "chorale.db"

    @property
    def writer(self) -> Path:
        """Who carries this folder to a bucket, and when that was last done."""
        return self.root / "writer.json"

    @property
    def arrived(self) -> Path:
        """Which state of each file of a bucket this folder has."""
        return self.root / "arrived.json"

    @property
    def cache(self) -> Path:
        """Features and audit findings, shared by all studies."""
        return self.root / "cache"

    def study(self, name: str) -> "StudyPaths":
        """The files of one study."""
        return StudyPaths(self.root / name)

    def studies(self) -> "list[StudyPaths]":
        """The files of every study that has begun here."""
        return [StudyPaths(path.parent) for path in sorted(self.root.glob("*/sweep.yaml"))]

    def nightly(self, name: str) -> "NightlyPaths":
        """The files of a schedule: what its nights were, and what they share."""
        return NightlyPaths(self.root / "nightly" / name)

    def champion(self, name: str) -> "ChampionPaths":
        """The bundles that have been champion under a name."""
        return ChampionPaths(self.root / "champions" / name)

    @property
    def library(self) -> "LibraryPaths":
        """The library of tracks, unless another is named."""
        return LibraryPaths(self.root / "library")


@dataclass(frozen=True)
class StudyPaths:
    """The files of one study."""

    root: Path

    @property
    def sweep_yaml(self) -> Path:
        """The resolved config that the study was started with."""
        return self.root / "sweep.yaml"

    @property
    def split_json(self) -> Path:
        """The locked test set and the folds."""
        return self.root / "split.json"

    @property
    def problems_csv(self) -> Path:
        """All that the audit found wrong: which tracks are quarantined, doubled, or leak."""
        return self.root / "quarantine.csv"

    @property
    def leaderboard_csv(self) -> Path:
        """One line a trial, best first."""
        return self.root / "leaderboard.csv"

    @property
    def report_json(self) -> Path:
        """What was found and how sure that is, for scripts."""
        return self.root / "report.json"

    @property
    def report_html(self) -> Path:
        """The same for people: one file that opens in any browser, without a network."""
        return self.root / "report.html"

    @property
    def audio_json(self) -> Path:
        """Where the file of each track lies, if it has one."""
        return self.root / "audio.json"

    @property
    def headline(self) -> Path:
        """What the ensemble that the headline is about said of each track."""
        return self.root / "headline.safetensors"

    @property
    def teacher(self) -> Path:
        """What an ensemble's networks say of the development tracks, for its student."""
        return self.root / "teacher.safetensors"

    @property
    def compress_json(self) -> Path:
        """The variants of an ensemble that were made small, and which one was chosen."""
        return self.root / "compress.json"

    def graph(self, name: str) -> Path:
        """One variant of a student as an ONNX graph."""
        return self.root / f"{name}.onnx"

    def narrowed(self, number: int, *, fold: int, seed: int) -> "TrialPaths":
        """The files of one retraining of a pruned student."""
        return TrialPaths(self.root / "pruned" / f"{number:04d}" / f"fold-{fold}-seed-{seed}")

    @property
    def stores_json(self) -> Path:
        """The names of the feature stores in the cache that the study uses."""
        return self.root / "stores.json"

    @property
    def truth_json(self) -> Path:
        """The label and the group of each track."""
        return self.root / "truth.json"

    @property
    def bundle(self) -> "BundlePaths":
        """The study's ensemble as prediction needs it, made when it is first asked for."""
        return BundlePaths(self.root / "bundle")

    def ensemble(self, kind: str) -> Path:
        """The members, weights and scores of one kind of ensemble."""
        return self.root / "ensembles" / f"{kind}.json"

    def ensemble_model(self, kind: str) -> Path:
        """All that one kind of ensemble needs to predict."""
        return self.root / "ensembles" / f"{kind}.safetensors"

    def baseline(self, name: str) -> Path:
        """What one baseline said."""
        return self.root / "baselines" / f"{name}.safetensors"

    def fitted_baseline(self, name: str) -> Path:
        """All that one baseline needs to predict."""
        return self.root / "baselines" / "fitted" / f"{name}.safetensors"

    def finalist_board(self, number: int) -> "BoardPaths":
        """What TensorBoard shows of finalist `number` beside its trainings."""
        return BoardPaths(self.root / "finalists" / f"{number:04d}")

    @property
    def ensemble_board(self) -> "BoardPaths":
        """What TensorBoard shows of the headline's ensemble."""
        return BoardPaths(self.root / "ensembles")

    def trial(self, number: int) -> "TrialPaths":
        """The files of one trial of the search."""
        return TrialPaths(self.root / "trials" / f"{number:04d}")

    def finalist(self, number: int, *, fold: int, seed: int) -> "TrialPaths":
        """The files of one retraining of trial `number`."""
        return TrialPaths(self.root / "finalists" / f"{number:04d}" / f"fold-{fold}-seed-{seed}")


@dataclass(frozen=True)
class TrialPaths:
    """The files of one training run. TensorBoard's events lie in `root` itself."""

    root: Path

    @property
    def config_yaml(self) -> Path:
        """What was trained."""
        return self.root / "config.yaml"

    @property
    def metrics_csv(self) -> Path:
        """One line an epoch."""
        return self.root / "metrics.csv"

    @property
    def state(self) -> Path:
        """A folder: where a training stands that was broken off; gone when it is committed."""
        return self.root / "state"

    @property
    def error(self) -> Path:
        """What the worker said when it failed: its traceback."""
        return self.root / "error.txt"

    @property
    def predictions(self) -> Path:
        """What the model said of its validation (and test) rows."""
        return self.root / "predictions.safetensors"

    @property
    def weights(self) -> Path:
        """A folder: the weights and their card."""
        return self.root / "weights"


@dataclass(frozen=True)
class BundlePaths:
    """The files of a bundle: one folder with everything that prediction needs."""

    root: Path

    @property
    def manifest(self) -> Path:
        """What is in it and how it goes together, with the hash of every other file."""
        return self.root / "bundle.json"

    @property
    def card(self) -> Path:
        """The model card, for people."""
        return self.root / "README.md"

    @property
    def ensemble(self) -> Path:
        """The fitted ensemble."""
        return self.root / "ensemble.safetensors"

    @property
    def networks(self) -> Path:
        """The folder of the networks, one folder each."""
        return self.root / "networks"

    def baseline(self, name: str) -> Path:
        """A fitted baseline among the members."""
        return self.root / "baselines" / f"{name}.safetensors"

    @property
    def encoders(self) -> Path:
        """The folder of frozen encoders, where the networks hear through one."""
        return self.root / "encoders"


@dataclass(frozen=True)
class ChampionPaths:
    """The files of a champion: its bundles, and which of them is in use."""

    root: Path

    @property
    def pointer(self) -> Path:
        """Which bundle is in use, and which were before: the one truth."""
        return self.root / "champion.json"

    @property
    def lock(self) -> Path:
        """Held by who changes the pointer."""
        return self.root / "lock"

    def bundle(self, digest: str) -> BundlePaths:
        """The bundle of that content."""
        return BundlePaths(self.root / "bundles" / digest)


@dataclass(frozen=True)
class LibraryPaths:
    """The files of a library: tracks as a bundle hears them, in parts."""

    root: Path

    @property
    def manifest(self) -> Path:
        """Which bundle heard the tracks, and which parts there are: the one truth."""
        return self.root / "library.json"

    @property
    def lock(self) -> Path:
        """Held by the process that adds; says who it is."""
        return self.root / "lock"

    def tracks(self, number: int) -> Path:
        """The tracks of a part."""
        return self.root / f"tracks-{number:06d}.json"

    def vectors(self, number: int) -> Path:
        """Their embeddings and probabilities."""
        return self.root / f"vectors-{number:06d}.safetensors"

    def parts(self) -> list[Path]:
        """The files of all parts, also of those that the manifest does not name."""
        return sorted(p for kind in ("tracks-*", "vectors-*") for p in self.root.glob(kind))


@dataclass(frozen=True)
class NightlyPaths:
    """The files of a schedule of nights."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by the process that runs a night; says who it is."""
        return self.root / "lock"

    @property
    def locked_json(self) -> Path:
        """The test tracks that all nights have in common, as they were when they were locked."""
        return self.root / "locked.json"

    @property
    def trend_html(self) -> Path:
        """A line for each night."""
        return self.root / "trend.html"

    @property
    def trend_csv(self) -> Path:
        """The same for scripts."""
        return self.root / "trend.csv"

    @property
    def nights(self) -> Path:
        """The folder of the nights, one each, named by its date."""
        return self.root / "nights"

    def night(self, night: date) -> "NightPaths":
        """The files of one night."""
        return NightPaths(self.nights / night.isoformat())


@dataclass(frozen=True)
class NightPaths:
    """The files of one night; its study lies beside those of other sweeps."""

    root: Path

    @property
    def record_json(self) -> Path:
        """What became of it: the one truth about a night."""
        return self.root / "night.json"

    @property
    def report_html(self) -> Path:
        """The morning's page."""
        return self.root / "report.html"

    @property
    def data_json(self) -> Path:
        """The content, label and group of every track of that night."""
        return self.root / "data.json"

    @property
    def bundle(self) -> BundlePaths:
        """The candidate, until it is promoted or not."""
        return BundlePaths(self.root / "bundle")


@dataclass(frozen=True)
class BoardPaths:
    """Pictures and embeddings for TensorBoard, which looks for files of these names."""

    root: Path
    PICTURES: ClassVar[str] = ".pictures"

    @property
    def projector_config(self) -> Path:
        """What the projector looks for in a run's folder: it names the two files below."""
        return self.root / "projector_config.pbtxt"

    @property
    def tensors(self) -> Path:
        """One line a track: its embedding."""
        return self.root / "tensors.tsv"

    @property
    def metadata(self) -> Path:
        """One line a track: what it is, and what was said of it."""
        return self.root / "metadata.tsv"

    def events(self, time_ns: int) -> Path:
        """The pictures, in an event file. A later one has another name, and sorts after it."""
        s, ns = divmod(time_ns, 10**9)
        return self.root / f"events.out.tfevents.{s:010d}.{ns:09d}{self.PICTURES}"

    def all_events(self) -> list[Path]:
        """The event files with pictures that are there."""
        return sorted(self.root.glob(f"events.out.tfevents.*{self.PICTURES}"))


def is_bucket(runs: str) -> bool:
    """Whether it is a URL, and not a folder."""
    return bool(BUCKET_URL.match(runs))


def folder_of(runs: str) -> Path:
    """The folder that `runs` means: itself, or this machine's copy of a bucket."""
    if not is_bucket(runs):
        return Path(runs).expanduser()
    url = runs.rstrip("/")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", url)[-40:].strip("-")
    return home / "chorale" / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
