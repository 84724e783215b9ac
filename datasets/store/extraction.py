"""Extracts the features of a chunk of files into one file of its own: the unit of a build.

`datasets.store.cache` plans the chunks and joins them; a worker process runs `extract_chunk`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from chorale.datasets import audio, features, plugins
from chorale.datasets.atomic import atomic
from chorale.datasets.base import FeatureSet
from chorale.datasets.config import plain
from chorale.datasets.content import HashedFile, digest
from chorale.datasets.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """All that decides what comes out of a given file: the same recipe, the same features."""

    feature: str
    config: Any

    @property  # not cached: a module cannot be pickled
    def extractor(self) -> FeatureSet:
        """The feature set's file.

        Raises:
            UserError: there is none of that name.
        """
        return cast(FeatureSet, plugins.load(features, self.feature, kind="feature set"))

    @cached_property
    def key(self) -> str:
        """Changes with the feature set, its version, its config and how audio is decoded."""
        versions = [self.extractor.VERSION, audio.VERSION]
        return digest([self.feature, versions, plain(self.config)])

    @property
    def n_bins(self) -> int:
        """Values in a frame."""
        return int(self.config.n_bins)

    def manifest(self) -> dict[str, Any]:
        """What a store says of itself."""
        return {
            "version": self.extractor.VERSION,
            "config": plain(self.config),
            "frame_rate_hz": self.config.frame_rate_hz,
            "n_channels": getattr(self.config, "n_channels", 1),
        }

    def frames(self, source: "HashedFile") -> npt.NDArray[np.float32]:
        """What is extracted from one file: `(n_frames, n_bins)`.

        Raises:
            UserError: it has changed or can no longer be decoded.
        """
        values = self.extractor.extract(_waveform(source, self), self.config)
        # a feature set that describes a whole track by one vector gives one frame
        return np.asarray(values, np.float32).reshape(self.n_bins, -1).T


class AnyRecipe(Protocol):
    """What a build needs to know of how files become frames: `Recipe`, or one for other files.

    `key` changes with all that decides what comes out of a given file.
    """

    @property
    def feature(self) -> str:
        """The feature set's name."""
        ...

    @property
    def key(self) -> str:
        """See above."""
        ...

    @property
    def n_bins(self) -> int:
        """Values in a frame."""
        ...

    def manifest(self) -> dict[str, Any]:
        """What a store says of itself: at least `frame_rate_hz` and `n_channels`."""
        ...

    def frames(self, source: "HashedFile") -> npt.NDArray[np.float32]:
        """What comes out of one file: `(n_frames, n_bins)`."""
        ...


def extract_chunk(sources: Sequence[HashedFile], *, recipe: AnyRecipe, folder: Path) -> int:
    """Extracts `sources` into one new file in `folder`; returns how many they were.

    Raises:
        UserError: a file has changed or can no longer be decoded.
    """
    frames = [recipe.frames(source) for source in sources]
    contents = [source.content for source in sources]
    with atomic(folder / f"{digest(contents)}.npz") as path:
        np.savez(
            path,
            frames=np.concatenate(frames),
            lengths=np.array([len(f) for f in frames], np.int64),
            contents=np.array(contents, dtype="S64"),
        )
    return len(sources)


def _waveform(source: HashedFile, recipe: Recipe) -> npt.NDArray[np.float32]:
    try:
        if audio.content_hash(source.path) != source.content:
            raise UserError(
                f"{source.path} has changed since it was audited; "
                f"run the same command again when nothing writes to it"
            )
        return audio.load(source.path, sample_rate=recipe.config.sample_rate)[0]
    except audio.AudioError as error:
        raise UserError(
            f"feature '{recipe.feature}': cannot read {error}, though the audit could; "
            f"run the same command again, or remove the file"
        ) from None
