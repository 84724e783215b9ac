"""The model bundle: one folder with everything that inference needs, none of it pickled.

`search.champion.pack.pack` packs a study's ensemble into a bundle, `search.bundle.predictor`
predicts with it. The manifest lists every file with its SHA-256, and `Bundle.open` refuses a bundle
in which a file is missing or changed.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field

from chorale.datasets.config import config, read_config
from chorale.datasets.content import file_sha256
from chorale.datasets.errors import UserError, join_first
from chorale.search.paths import BundlePaths
from chorale.search.statistics.confidence_reference import ConfidenceReference

MANIFEST_VERSION = 1
"""Version of the manifest's layout; a bundle with another version is refused."""


@config
class BundledNetwork:
    """One trained network: its folder below the bundle, and its place in the ensemble.

    `member` is the index of the ensemble's member. `space` numbers the fold and seed that the
    network was trained on, as `EmbeddingView.space` does.
    """

    folder: str
    member: int
    space: int
    features: str


@config
class BundledBaseline:
    """One classical classifier: its file below the bundle, and its index among the members."""

    file: str
    member: int
    features: str


@config
class BundleManifest:
    """The content of `bundle.json`.

    `members` and `architectures` are in the ensemble's order; `features` maps a feature set to its
    config; `baselines` are the members that are classical classifiers. `temperature` is that of
    temperature scaling. `least_proba` is the threshold of conformal sets that contain the true
    class with probability `coverage`.

    A track is out of distribution where the members' disagreement exceeds `most_disagreement`
    nats, or where the entropy of the probabilities exceeds `most_entropy` nats. The latter is for
    ensembles of a single member, which cannot disagree, and is None for others.

    `has_novelty` means that the bundle holds reference embeddings of frozen encoders: then a track
    is out of distribution also where it is unlike them (see `search.bundle.novelty`).

    `about` is for people: dataset, protocol, scores, versions. `files` maps each other file, a
    POSIX path below the bundle, to its SHA-256.

    Where `task` is multi_label, a track may have several labels or none, and `thresholds` maps each
    label to the calibrated probability from which it is predicted. Conformal sets then contain on
    average the share `coverage` of a track's labels.

    A member has one network for each of `n_folds` folds and each of its seeds, of which members may
    have different numbers. Without `n_folds`, all members have the same number of networks.

    `confidence` is how confident the bundle is on tracks like those of its study, with which
    `search.champion.health` compares its answers in use; None of several labels, and in bundles of
    older versions.
    """

    version: int
    study: str
    labels: tuple[str, ...]
    kind: str
    members: tuple[str, ...]
    architectures: tuple[str, ...]
    networks: tuple[BundledNetwork, ...]
    features: dict[str, dict[str, Any]]
    temperature: float
    coverage: float
    least_proba: float
    most_disagreement: float
    about: dict[str, Any]
    files: dict[str, str]
    most_entropy: float | None = None
    baselines: tuple[BundledBaseline, ...] = ()
    task: Literal["single_label", "multi_label"] = "single_label"
    thresholds: dict[str, float] = field(default_factory=dict)
    has_novelty: bool = False
    n_folds: Annotated[int, Field(ge=1)] | None = None
    confidence: ConfidenceReference | None = None

    @property
    def multi_label(self) -> bool:
        """Whether a track may have several labels."""
        return self.task == "multi_label"

    def n_networks(self, member: int) -> int | None:
        """The number of a member's networks, 0 of a baseline; None where some are missing."""
        spaces = sorted(one.space for one in self.networks if one.member == member)
        if any(one.member == member for one in self.baselines):
            return None if spaces else 0
        if self.n_folds is None:
            every = sorted({one.space for one in self.networks})
        else:
            every = list(range(len(spaces) // self.n_folds * self.n_folds))
        return len(spaces) if spaces and spaces == every else None

    @property
    def members_text(self) -> str:
        """The members in words: "2 trials and baseline svm"."""
        names = [self.members[one.member] for one in self.baselines]
        n = len(self.members) - len(names)
        trials = [f"{n} trial{'s' * (n != 1)}"] if n else []
        baselines = [f"baseline{'s' * (len(names) != 1)} {', '.join(names)}"] if names else []
        return " and ".join([*trials, *baselines])


@dataclass(frozen=True)
class Bundle:
    """An opened bundle, all of whose hashes have been verified."""

    paths: BundlePaths
    manifest: BundleManifest
    digest: str
    """SHA-256 of the manifest, hence of the whole content: the identity of a champion."""

    @classmethod
    def open(cls, folder: Path) -> "Bundle":
        """Opens the bundle in `folder`.

        Raises:
            UserError: there is none, another version of Chorale made it, a file is missing or
                changed, or the thresholds are not those of its labels.
        """
        paths = BundlePaths(Path(folder))
        try:
            raw = paths.manifest.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"there is no bundle in '{folder}': it has no {paths.manifest.name}; make one "
                f"with: chorale export STUDY --to {folder}"
            ) from None
        try:
            content = json.loads(raw)
            version = content["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise bundle_error(folder, f"{paths.manifest.name} cannot be read ({error})") from None
        if version != MANIFEST_VERSION:
            raise UserError(
                f"the bundle in '{folder}' has version={version}, but this Chorale reads "
                f"{MANIFEST_VERSION}; bring the Chorale that made it, or export it again"
            )
        manifest = read_config(BundleManifest, content, where=str(paths.manifest))
        for name, digest in manifest.files.items():
            _check(paths.root, name, digest)
        _check_thresholds(paths.root, manifest)
        return cls(paths, manifest, hashlib.sha256(raw).hexdigest())


def bundle_error(folder: Path | str, why: str) -> UserError:
    """The error for a bundle that cannot be used."""
    return UserError(f"the bundle in '{folder}' cannot be used: {why}; export or copy it again")


def _check(root: Path, name: str, digest: str) -> None:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise bundle_error(root, f"its manifest names a file outside of it, '{name}'")
    try:
        found = file_sha256(root / pure)
    except OSError:
        raise bundle_error(root, f"'{name}' is missing") from None
    if found != digest:
        raise bundle_error(root, f"'{name}' is not the file that the manifest was written for")


def _check_thresholds(root: Path, manifest: BundleManifest) -> None:
    """Refuses thresholds that are not one of each label, 0 to 1; single-label bundles have none."""
    labels = manifest.labels if manifest.multi_label else ()
    missing = [label for label in labels if label not in manifest.thresholds]
    unknown = [label for label in manifest.thresholds if label not in labels]
    bad = [
        f"{label}={value}" for label, value in manifest.thresholds.items() if not 0 <= value <= 1
    ]
    for problem, names in (
        ("lacks the thresholds of", missing),
        ("has thresholds of what are not its labels,", unknown),
        ("has thresholds that are not 0 to 1,", bad),
    ):
        if names:
            raise bundle_error(root, f"its manifest {problem} {join_first(names)}")
