"""File paths: the names and the folder layout of everything that sweeps, bundles and nights write.

Every other file takes its paths from here, so the layout can change in one place.
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
    """The folder of all studies, `runs/` by default."""

    root: Path

    @property
    def ledger_url(self) -> str:
        """The default ledger, an SQLite file beside the studies."""
        from sqlalchemy import URL

        # escaped: a folder's name may hold characters that have a meaning in a URL
        return URL.create("sqlite", database=str(self.ledger)).render_as_string()

    @property
    def ledger(self) -> Path:
        """The default ledger's file."""
        return self.root / "chorale.db"

    @property
    def writer(self) -> Path:
        """The lease of the process that syncs this folder to a bucket, and when it last did."""
        return self.root / "writer.json"

    @property
    def arrived(self) -> Path:
        """Which version of each file of a bucket this folder holds."""
        return self.root / "arrived.json"

    @property
    def cache(self) -> Path:
        """Features and audit findings, shared by all studies."""
        return self.root / "cache"

    def study(self, name: str) -> "StudyPaths":
        """The files of one study."""
        return StudyPaths(self.root / name)

    def studies(self) -> "list[StudyPaths]":
        """The files of every study that was started here."""
        return [StudyPaths(path.parent) for path in sorted(self.root.glob("*/sweep.yaml"))]

    def nightly(self, name: str) -> "NightlyPaths":
        """The files of a nightly schedule: those of its nights, and those that they share."""
        return NightlyPaths(self.root / "nightly" / name)

    def champion(self, name: str) -> "ChampionPaths":
        """All bundles that were champion under a name."""
        return ChampionPaths(self.root / "champions" / name)

    @property
    def library(self) -> "LibraryPaths":
        """The default library of tracks."""
        return LibraryPaths(self.root / "library")


@dataclass(frozen=True)
class StudyPaths:
    """The files of one study."""

    root: Path

    @property
    def sweep_yaml(self) -> Path:
        """The resolved config of the study."""
        return self.root / "sweep.yaml"

    @property
    def log_txt(self) -> Path:
        """What its sweep printed, with times."""
        return self.root / "log.txt"

    @property
    def notes_json(self) -> Path:
        """The user's note on the study, and its tags."""
        return self.root / "notes.json"

    @property
    def renamed_from(self) -> Path:
        """The former name of the study, until its renaming has ended."""
        return self.root / ".renamed_from"

    @property
    def tracking_lock(self) -> Path:
        """The lock file of the process that writes the study to an experiment tracker."""
        return self.root / ".tracking.lock"

    @property
    def split_json(self) -> Path:
        """The locked test set and the folds."""
        return self.root / "split.json"

    @property
    def problems_csv(self) -> Path:
        """All findings of the audit: tracks that are quarantined, duplicated, or leak."""
        return self.root / "quarantine.csv"

    @property
    def leaderboard_csv(self) -> Path:
        """One line per trial, best first."""
        return self.root / "leaderboard.csv"

    @property
    def report_json(self) -> Path:
        """Results with their confidence intervals, for scripts."""
        return self.root / "report.json"

    @property
    def report_html(self) -> Path:
        """The report as one page for a browser, which loads nothing from a network."""
        return self.root / "report.html"

    @property
    def audio_json(self) -> Path:
        """The path of each track's audio file, if it has one."""
        return self.root / "audio.json"

    @property
    def chosen_predictions(self) -> Path:
        """The chosen ensemble's predictions for each track."""
        return self.root / "headline.safetensors"

    @property
    def teacher(self) -> Path:
        """An ensemble's predictions for the development tracks: the targets of distillation."""
        return self.root / "teacher.safetensors"

    @property
    def compress_json(self) -> Path:
        """The compressed variants of an ensemble, and which one was chosen."""
        return self.root / "compress.json"

    def student_onnx(self, name: str) -> Path:
        """One variant of a student as an ONNX graph."""
        return self.root / f"{name}.onnx"

    def pruned_student(self, number: int, *, fold: int, seed: int) -> "TrialPaths":
        """The files of one retraining of a structurally pruned student."""
        return TrialPaths(self.root / "pruned" / f"{number:04d}" / f"fold-{fold}-seed-{seed}")

    @property
    def stores_json(self) -> Path:
        """The names of the cached feature stores that the study uses."""
        return self.root / "stores.json"

    @property
    def near_duplicates_json(self) -> Path:
        """Pairs of tracks that an encoder can hardly tell apart; missing without an encoder."""
        return self.root / "near_duplicates.json"

    @property
    def encoder_vectors(self) -> Path:
        """The mean embedding of each track by each frozen encoder."""
        return self.root / "encoder_vectors.safetensors"

    @property
    def ground_truth_json(self) -> Path:
        """The ground truth: the label and the group of each track."""
        return self.root / "truth.json"

    @property
    def bundle(self) -> "BundlePaths":
        """The bundle of the study's ensemble, packed on demand."""
        return BundlePaths(self.root / "bundle")

    def ensemble(self, kind: str) -> Path:
        """The members, weights and scores of one kind of ensemble."""
        return self.root / "ensembles" / f"{kind}.json"

    def ensemble_model(self, kind: str) -> Path:
        """The fitted parameters of one kind of ensemble."""
        return self.root / "ensembles" / f"{kind}.safetensors"

    def baseline(self, name: str) -> Path:
        """One baseline's predictions."""
        return self.root / "baselines" / _baseline_file(name)

    @property
    def stages_json(self) -> Path:
        """The wall time of each stage so far, in all sessions."""
        return self.root / "stages.json"

    @property
    def finalist_epochs_json(self) -> Path:
        """The number of epochs of each finalist's retrainings."""
        return self.root / "finalists" / "epochs.json"

    @property
    def baselines_json(self) -> Path:
        """Which baselines were fitted, with which parameters, and what the time did not allow."""
        return self.root / "baselines" / "baselines.json"

    def fitted_baseline(self, name: str) -> Path:
        """The fitted parameters of one baseline."""
        return self.root / "baselines" / "fitted" / _baseline_file(name)

    def finalist_tensorboard(self, number: int) -> "TensorBoardPaths":
        """TensorBoard's images and embeddings of finalist `number`."""
        return TensorBoardPaths(self.root / "finalists" / f"{number:04d}")

    @property
    def ensemble_tensorboard(self) -> "TensorBoardPaths":
        """TensorBoard's images of the chosen ensemble."""
        return TensorBoardPaths(self.root / "ensembles")

    def trial(self, number: int) -> "TrialPaths":
        """The files of one trial of the search."""
        return TrialPaths(self.root / "trials" / f"{number:04d}")

    def finalist(self, number: int, *, fold: int, seed: int) -> "TrialPaths":
        """The files of one retraining of trial `number`."""
        return TrialPaths(self.root / "finalists" / f"{number:04d}" / f"fold-{fold}-seed-{seed}")


@dataclass(frozen=True)
class TrialPaths:
    """The files of one training run. TensorBoard's event files are in `root` itself."""

    root: Path

    @property
    def config_yaml(self) -> Path:
        """The configs of the architecture and of the training."""
        return self.root / "config.yaml"

    @property
    def metrics_csv(self) -> Path:
        """One line per epoch."""
        return self.root / "metrics.csv"

    @property
    def state(self) -> Path:
        """A folder: the checkpoint of an unfinished training, removed once it is committed."""
        return self.root / "state"

    @property
    def error(self) -> Path:
        """The traceback of a failed trial."""
        return self.root / "error.txt"

    @property
    def predictions(self) -> Path:
        """The model's predictions for its validation (and test) rows."""
        return self.root / "predictions.safetensors"

    @property
    def weights(self) -> Path:
        """A folder: the weights, and the JSON file that describes them."""
        return self.root / "weights"


@dataclass(frozen=True)
class BundlePaths:
    """The files of a bundle: one folder with everything that prediction needs."""

    root: Path

    @property
    def manifest(self) -> Path:
        """The contents and how they fit together, with the hash of every other file."""
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
        """The folder of the networks, with one folder for each."""
        return self.root / "networks"

    def baseline(self, name: str) -> Path:
        """A fitted baseline that is a member of the ensemble."""
        return self.root / "baselines" / _baseline_file(name)

    @property
    def novelty(self) -> Path:
        """The reference tracks of frozen encoders, for recordings that are unlike them."""
        return self.root / "novelty.safetensors"

    @property
    def encoders(self) -> Path:
        """The folder of frozen encoders, where networks use embeddings as features."""
        return self.root / "encoders"


@dataclass(frozen=True)
class ChampionPaths:
    """The files of a champion: its bundles, and which of them is in use."""

    root: Path

    @property
    def pointer(self) -> Path:
        """The single source of truth: which bundle is in use, and which were before."""
        return self.root / "champion.json"

    @property
    def lock(self) -> Path:
        """The lock file for changes of the pointer."""
        return self.root / "lock"

    @property
    def health(self) -> Path:
        """The default folder of the statistics of served answers."""
        return self.root / "health"

    def bundle(self, digest: str) -> BundlePaths:
        """The bundle with that content hash."""
        return BundlePaths(self.root / "bundles" / digest)


@dataclass(frozen=True)
class LibraryPaths:
    """The files of a library: the embeddings of tracks by one bundle, in parts."""

    root: Path

    @property
    def manifest(self) -> Path:
        """The single source of truth: which bundle made the embeddings, and which parts exist."""
        return self.root / "library.json"

    @property
    def lock(self) -> Path:
        """The lock file of the process that adds tracks; it names the owner."""
        return self.root / "lock"

    def tracks(self, number: int) -> Path:
        """The tracks of a part."""
        return self.root / f"tracks-{number:06d}.json"

    def vectors(self, number: int) -> Path:
        """The embeddings and probabilities of a part."""
        return self.root / f"vectors-{number:06d}.safetensors"

    def parts(self) -> list[Path]:
        """The files of all parts, also of those that the manifest does not list."""
        return sorted(p for kind in ("tracks-*", "vectors-*") for p in self.root.glob(kind))


@dataclass(frozen=True)
class NightlyPaths:
    """The files of a nightly schedule."""

    root: Path

    @property
    def lock(self) -> Path:
        """The lock file of the process that runs a night; it names the owner."""
        return self.root / "lock"

    @property
    def locked_json(self) -> Path:
        """The locked test tracks that all nights share, as they were when they were locked."""
        return self.root / "locked.json"

    @property
    def trend_html(self) -> Path:
        """The trend page, with one line per night."""
        return self.root / "trend.html"

    @property
    def trend_csv(self) -> Path:
        """The trend for scripts, with one line per night."""
        return self.root / "trend.csv"

    @property
    def nights(self) -> Path:
        """The folder with one folder per night, named by its date."""
        return self.root / "nights"

    def night(self, night: date) -> "NightPaths":
        """The files of one night."""
        return NightPaths(self.nights / night.isoformat())


@dataclass(frozen=True)
class NightPaths:
    """The files of one night; its study has its own folder among the other studies."""

    root: Path

    @property
    def log_txt(self) -> Path:
        """What the night printed, with times."""
        return self.root / "log.txt"

    @property
    def record_json(self) -> Path:
        """The night's record, the single source of truth about it."""
        return self.root / "night.json"

    @property
    def report_html(self) -> Path:
        """The night's report page."""
        return self.root / "report.html"

    @property
    def data_json(self) -> Path:
        """The content hash, label and group of every track of that night."""
        return self.root / "data.json"

    @property
    def bundle(self) -> BundlePaths:
        """The candidate's bundle, until the night is over."""
        return BundlePaths(self.root / "bundle")


@dataclass(frozen=True)
class TensorBoardPaths:
    """Images and embeddings for TensorBoard, which expects these file names."""

    root: Path
    IMAGES_SUFFIX: ClassVar[str] = ".pictures"

    @property
    def projector_config(self) -> Path:
        """The config of TensorBoard's projector: it names the two files below."""
        return self.root / "projector_config.pbtxt"

    @property
    def tensors(self) -> Path:
        """One line per track: its embedding."""
        return self.root / "tensors.tsv"

    @property
    def metadata(self) -> Path:
        """One line per track: its id, label and predictions."""
        return self.root / "metadata.tsv"

    def events(self, time_ns: int) -> Path:
        """A new event file with images; its name sorts after those of earlier ones."""
        s, ns = divmod(time_ns, 10**9)
        return self.root / f"events.out.tfevents.{s:010d}.{ns:09d}{self.IMAGES_SUFFIX}"

    def all_events(self) -> list[Path]:
        """The event files with images that exist."""
        return sorted(self.root.glob(f"events.out.tfevents.*{self.IMAGES_SUFFIX}"))


def is_bucket(runs: str) -> bool:
    """Whether `runs` is the URL of a bucket, and not a folder."""
    return bool(BUCKET_URL.match(runs))


def folder_of(runs: str) -> Path:
    """The local folder for `runs`: itself, or this machine's copy of a bucket."""
    if not is_bucket(runs):
        return Path(runs).expanduser()
    url = runs.rstrip("/")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", url)[-40:].strip("-")
    return home / "chorale" / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _baseline_file(name: str) -> str:
    """Without blanks and brackets: svm@encoder-b.safetensors for "svm (encoder-b)"."""
    return f"{name.replace(' (', '@').removesuffix(')')}.safetensors"


def folder_bytes(folder: Path) -> int:
    """The total size in bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
