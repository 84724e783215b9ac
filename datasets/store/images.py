"""Precomputed spectrogram images of a dataset: their audit and the recipe of their feature store.

`datasets.source` calls it; the dataset's own `load` reads a single image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from chorale.datasets import audio
from chorale.datasets.audit.audit import AuditResult
from chorale.datasets.chunks import ChunkMap, in_chunks
from chorale.datasets.content import HashedFile, json_digest
from chorale.datasets.errors import UserError

IMAGE_VERSION = 1

LoadImage = Callable[[str], npt.NDArray[np.float32]]
"""The path of an image -> float32 `(n_channels, height, width)`; UserError if it is unusable."""


@dataclass(frozen=True)
class ImageReader:
    """How an image is read, and how many seconds of its track it shows."""

    load: LoadImage
    duration_s: float


@dataclass(frozen=True)
class _ImageCheck:
    """The content hash and shape of one image, or why it is unusable."""

    content: str = ""
    shape: tuple[int, ...] = ()
    error: str = ""


def audit_images(tracks: pd.DataFrame, reader: ImageReader, *, run: ChunkMap) -> AuditResult:
    """Reads every image once; unreadable ones and those of another size are problems.

    Args:
        tracks: with the path of each image.
        reader: how they are read.
        run: maps work over chunks of files.

    Raises:
        UserError: there are no tracks.
    """
    if tracks.empty:
        raise UserError("audit: the dataset has no tracks; check --dataset.root")
    chunks = in_chunks([str(path) for path in tracks["path"]])
    checked = run(partial(_check_images, load=reader.load), chunks)
    checks = [check for chunk in checked for check in chunk]
    usual = pd.Series([check.shape for check in checks if not check.error], dtype=object).mode()
    findings = []
    for check in checks:
        if check.error:
            findings.append(("unusable picture", check.error))
        elif check.shape != usual[0]:
            wanted, got = (" x ".join(map(str, shape)) for shape in (usual[0], check.shape))
            findings.append(("other size", f"channels x height x width is {got}, of most {wanted}"))
        else:
            findings.append(("", ""))
    bad = np.array([problem != "" for problem, _ in findings])
    problems = tracks.loc[bad, ["track_id", "path"]].assign(
        problem=[problem for problem, _ in findings if problem],
        detail=[detail for problem, detail in findings if problem],
    )
    good = tracks.assign(duration_s=reader.duration_s, content=[check.content for check in checks])
    nothing = pd.DataFrame(columns=list(problems.columns))
    return AuditResult(good[~bad].reset_index(drop=True), problems.reset_index(drop=True), nothing)


def _check_images(paths: Sequence[str], *, load: LoadImage) -> list[_ImageCheck]:
    checks = []
    for path in paths:
        try:
            checks.append(_ImageCheck(audio.content_hash(path), load(path).shape))
        except (UserError, audio.AudioError) as error:
            checks.append(_ImageCheck(error=str(error)))
    return checks


@dataclass(frozen=True)
class ImageRecipe:
    """How images become frames (see `extraction.Recipe`): a column of pixels is one frame."""

    feature: str
    reader: ImageReader
    shape: tuple[int, ...]

    @classmethod
    def of(cls, feature: str, reader: ImageReader, path: str) -> "ImageRecipe":
        """The recipe for images of the size of the one at `path`."""
        return cls(feature, reader, reader.load(path).shape)

    @cached_property
    def key(self) -> str:
        """Cache key."""
        return json_digest(
            ["pictures", IMAGE_VERSION, self.feature, list(self.shape), self.reader.duration_s]
        )

    @property
    def n_bins(self) -> int:
        """Pixels in a column, of all channels."""
        return self.shape[0] * self.shape[1]

    def manifest(self) -> dict[str, Any]:
        """Entries of the store's manifest."""
        return {
            "version": IMAGE_VERSION,
            "frame_rate_hz": self.shape[2] / self.reader.duration_s,
            "n_channels": self.shape[0],
        }

    def frames(self, source: HashedFile) -> npt.NDArray[np.float32]:
        """The columns of an image: float32 `(width, n_channels * height)`.

        Raises:
            UserError: the file has changed since the audit.
        """
        if audio.content_hash(source.path) != source.content:
            raise UserError(
                f"{source.path} has changed since it was audited; "
                f"run the same command again when nothing writes to it"
            )
        image = self.reader.load(source.path)
        return image.reshape(self.n_bins, -1).T
