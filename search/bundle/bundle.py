"""A bundle: one folder with everything that prediction needs, none of it pickled.

`search.champion.pack.pack` makes one of a study; `search.bundle.predictor` predicts with it. Its
manifest names every file with its hash, so that a bundle is either whole or refused.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from chorale.datasets.config import config, read
from chorale.datasets.errors import UserError
from chorale.search.paths import BundlePaths

VERSION = 1
"""Of the manifest's layout; a bundle of a later one is refused."""


@config
class Network:
    """One trained network: its folder below the bundle, and where it stands in the ensemble.

    `member` counts the ensemble's members, `space` numbers the fold and seed that it was trained
    on, as the ensemble's views do.
    """

    folder: str
    member: int
    space: int
    features: str


@config
class BundledBaseline:
    """One classical classifier: its file below the bundle, and its place among the members."""

    file: str
    member: int
    features: str


@config
class Manifest:
    """What `bundle.json` holds.

    `members` names what the ensemble combines, in its order, `architectures` likewise;
    `features` maps a feature set to its config. `temperature` calibrates, `least_proba` makes
    sets that hold the true class with probability `coverage`. A track about which the members
    disagree by more than `most_disagreement` nats is like hardly any of the test tracks; nor is
    one whose probabilities have an entropy of more than `most_entropy` nats, where that is known: a
    single network has nobody to disagree with.
    `baselines` are the members that are classical classifiers.
    `about` is what a person should know: dataset, protocol, scores, versions. `files` maps each
    other file, a POSIX path below the bundle, to its SHA-256.
    """

    version: int
    study: str
    labels: tuple[str, ...]
    kind: str
    members: tuple[str, ...]
    architectures: tuple[str, ...]
    networks: tuple[Network, ...]
    features: dict[str, dict[str, Any]]
    temperature: float
    coverage: float
    least_proba: float
    most_disagreement: float
    about: dict[str, Any]
    files: dict[str, str]
    most_entropy: float | None = None
    baselines: tuple[BundledBaseline, ...] = ()

    @property
    def said(self) -> str:
        """Its members, for people: "2 trials and baseline svm"."""
        names = [self.members[one.member] for one in self.baselines]
        n = len(self.members) - len(names)
        trials = [f"{n} trial{'s' * (n != 1)}"] if n else []
        baselines = [f"baseline{'s' * (len(names) != 1)} {', '.join(names)}"] if names else []
        return " and ".join([*trials, *baselines])


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: all its hashes have been checked."""

    paths: BundlePaths
    manifest: Manifest
    digest: str
    """SHA-256 of the manifest, and so of everything: what a champion is called by."""

    @classmethod
    def open(cls, folder: Path) -> "Bundle":
        """Opens the bundle in `folder`.

        Raises:
            UserError: there is none, a newer Chorale made it, or a file is missing or changed.
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
            raise damaged(folder, f"{paths.manifest.name} cannot be read ({error})") from None
        if version != VERSION:
            raise UserError(
                f"the bundle in '{folder}' has version={version}, but this Chorale reads "
                f"{VERSION}; bring the Chorale that made it, or export it again"
            )
        manifest = read(Manifest, content, where=str(paths.manifest))
        for name, digest in manifest.files.items():
            _check(paths.root, name, digest)
        return cls(paths, manifest, hashlib.sha256(raw).hexdigest())


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damaged(folder: Path | str, why: str) -> UserError:
    """What to raise of a bundle that cannot be used."""
    return UserError(f"the bundle in '{folder}' cannot be used: {why}; export or copy it again")


def _check(root: Path, name: str, digest: str) -> None:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise damaged(root, f"its manifest names a file outside of it, '{name}'")
    try:
        found = file_digest(root / pure)
    except OSError:
        raise damaged(root, f"'{name}' is missing") from None
    if found != digest:
        raise damaged(root, f"'{name}' is not the file that the manifest was written for")
