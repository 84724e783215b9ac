"""Spectrogram pictures that a dataset brings ready-made: which can be used, and their store.

`datasets.source` calls it; the dataset's own `load` reads a single picture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from chorale.datasets import audio
from chorale.datasets.audit.audit import Audit
from chorale.datasets.chunks import ChunkMap, in_chunks
from chorale.datasets.content import HashedFile, digest
from chorale.datasets.errors import UserError

VERSION = 1

Load = Callable[[str], npt.NDArray[np.float32]]
"""The path of a picture -> float32 `(n_channels, height, width)`; UserError where it is none."""


@dataclass(frozen=True)
class Reader:
    """How a picture is read, and how many seconds of its track it shows."""

    load: Load
    duration_s: float


@dataclass(frozen=True)
class _Look:
    """What was seen of one picture: its content's hash and shape, or what is wrong with it."""

    content: str = ""
    shape: tuple[int, ...] = ()
    wrong: str = ""


def survey(tracks: pd.DataFrame, reader: Reader, *, run: ChunkMap) -> Audit:
    """Reads every picture once; those that cannot be read, or are of another size, are problems.

    Args:
        tracks: with the path of each picture.
        reader: how they are read.
        run: how chunks of files are worked on.

    Raises:
        UserError: there are no tracks.
    """
    if tracks.empty:
        raise UserError("audit: the dataset has no tracks; check --dataset.root")
    chunks = in_chunks([str(path) for path in tracks["path"]])
    seen = [look for looks in run(partial(_look_at, load=reader.load), chunks) for look in looks]
    usual = pd.Series([look.shape for look in seen if not look.wrong], dtype=object).mode()
    said = []
    for look in seen:
        if look.wrong:
            said.append(("unusable picture", look.wrong))
        elif look.shape != usual[0]:
            wanted, got = (" x ".join(map(str, shape)) for shape in (usual[0], look.shape))
            said.append(("other size", f"channels x height x width is {got}, of most {wanted}"))
        else:
            said.append(("", ""))
    bad = np.array([problem != "" for problem, _ in said])
    problems = tracks.loc[bad, ["track_id", "path"]].assign(
        problem=[problem for problem, _ in said if problem],
        detail=[detail for problem, detail in said if problem],
    )
    good = tracks.assign(duration_s=reader.duration_s, content=[look.content for look in seen])
    nothing = pd.DataFrame(columns=list(problems.columns))
    return Audit(good[~bad].reset_index(drop=True), problems.reset_index(drop=True), nothing)


def _look_at(paths: Sequence[str], *, load: Load) -> list[_Look]:
    looks = []
    for path in paths:
        try:
            looks.append(_Look(audio.content_hash(path), load(path).shape))
        except (UserError, audio.AudioError) as error:
            looks.append(_Look(wrong=str(error)))
    return looks


@dataclass(frozen=True)
class PictureRecipe:
    """How pictures become frames (see `extraction.Recipe`): a column of pixels is one of them."""

    feature: str
    reader: Reader
    shape: tuple[int, ...]

    @classmethod
    def of(cls, feature: str, reader: Reader, path: str) -> "PictureRecipe":
        """For pictures that are all of the size of the one at `path`."""
        return cls(feature, reader, reader.load(path).shape)

    @cached_property
    def key(self) -> str:
        """Changes with what decides what comes out of a given file."""
        return digest(["pictures", VERSION, self.feature, list(self.shape), self.reader.duration_s])

    @property
    def n_bins(self) -> int:
        """Pixels in a column, of all channels."""
        return self.shape[0] * self.shape[1]

    def manifest(self) -> dict[str, Any]:
        """What a store says of itself."""
        return {
            "version": VERSION,
            "frame_rate_hz": self.shape[2] / self.reader.duration_s,
            "n_channels": self.shape[0],
        }

    def frames(self, source: HashedFile) -> npt.NDArray[np.float32]:
        """A picture's columns: float32 `(width, n_channels * height)`.

        Raises:
            UserError: it has changed since it was looked at.
        """
        if audio.content_hash(source.path) != source.content:
            raise UserError(
                f"{source.path} has changed since it was audited; "
                f"run the same command again when nothing writes to it"
            )
        picture = self.reader.load(source.path)
        return picture.reshape(self.n_bins, -1).T
