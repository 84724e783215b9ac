"""Feature extraction of one chunk of files into one `.npz`: the unit of work of a build.

`datasets.store.cache` plans the chunks and joins them; a worker process runs `extract_chunk`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from chorale.datasets import audio
from chorale.datasets.atomic import atomic_write
from chorale.datasets.base import FeatureSet
from chorale.datasets.config import to_plain_values
from chorale.datasets.content import HashedFile, json_digest
from chorale.datasets.errors import UserError
from chorale.datasets.features import load_feature_set
from chorale.datasets.store import views


@dataclass(frozen=True)
class FeatureRecipe:
    """A feature set, its config and a view: the same recipe gives the same features for a file.

    View 0 is the recording as it is, and has the key of a recipe without views.
    """

    feature: str
    config: Any
    view: int = 0

    @property  # not cached: a module cannot be pickled
    def extractor(self) -> FeatureSet:
        """The feature set's module.

        Raises:
            UserError: there is none of that name.
        """
        return cast(FeatureSet, load_feature_set(self.feature))

    @cached_property
    def key(self) -> str:
        """Cache key of the feature set, its version, its config and the audio decoder's version."""
        versions = [self.extractor.VERSION, audio.DECODER_VERSION]
        of_view = [["view", views.VERSION, self.view]] if self.view else []
        return json_digest([self.feature, versions, to_plain_values(self.config), *of_view])

    @property
    def n_bins(self) -> int:
        """Values in a frame."""
        return int(self.config.n_bins)

    def manifest(self) -> dict[str, Any]:
        """Entries of the store's manifest."""
        return {
            "version": self.extractor.VERSION,
            "config": to_plain_values(self.config),
            "frame_rate_hz": self.config.frame_rate_hz,
            "n_channels": getattr(self.config, "n_channels", 1),
            **({"view": self.view} if self.view else {}),
        }

    def frames(self, source: "HashedFile") -> npt.NDArray[np.float32]:
        """The features of one file: `(n_frames, n_bins)`.

        Raises:
            UserError: the file has changed or can no longer be decoded.
        """
        waveform = views.view_waveform(
            _waveform(source, self), self.config.sample_rate, content=source.content, view=self.view
        )
        values = self.extractor.extract(waveform, self.config)
        # one vector for the whole track becomes one frame
        return np.asarray(values, np.float32).reshape(self.n_bins, -1).T


class Recipe(Protocol):
    """How files become frames: `FeatureRecipe`, or a recipe for other kinds of files.

    `key` changes with everything that affects the features of a given file.
    """

    @property
    def feature(self) -> str:
        """The feature set's name."""
        ...

    @property
    def key(self) -> str:
        """Cache key."""
        ...

    @property
    def n_bins(self) -> int:
        """Values in a frame."""
        ...

    def manifest(self) -> dict[str, Any]:
        """Entries of the store's manifest: at least `frame_rate_hz` and `n_channels`."""
        ...

    def frames(self, source: "HashedFile") -> npt.NDArray[np.float32]:
        """The features of one file: `(n_frames, n_bins)`."""
        ...


def extract_chunk(sources: Sequence[HashedFile], *, recipe: Recipe, folder: Path) -> int:
    """Extracts `sources` into one new file in `folder`; returns their number.

    Raises:
        UserError: a file has changed or can no longer be decoded.
    """
    frames = [recipe.frames(source) for source in sources]
    contents = [source.content for source in sources]
    with atomic_write(folder / f"{json_digest(contents)}.npz") as path:
        np.savez(
            path,
            frames=np.concatenate(frames),
            lengths=np.array([len(f) for f in frames], np.int64),
            contents=np.array(contents, dtype="S64"),
        )
    return len(sources)


def _waveform(source: HashedFile, recipe: FeatureRecipe) -> npt.NDArray[np.float32]:
    try:
        if audio.content_hash(source.path) != source.content:
            raise UserError(
                f"{source.path} has changed since it was audited; "
                f"run the same command again when nothing writes to it"
            )
        return audio.load_audio(source.path, sample_rate=recipe.config.sample_rate)[0]
    except audio.AudioError as error:
        raise UserError(
            f"feature '{recipe.feature}': cannot read {error}, though the audit could; "
            f"run the same command again, or remove the file"
        ) from None
