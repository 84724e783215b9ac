"""Built-in polyphonic corpus: which of ten instruments play in a clip, one to four at once.

It is multi-label and generated on the first use, without a download. The group is the artist, whose
timbres, style, tempo, levels and room are the same in all clips, and differ from those of others.

Pitfalls: an artist prefers some instruments, so that a split with artists on both sides is too
optimistic.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from chorale.datasets.base import DatasetInfo
from chorale.datasets.config import config, to_plain_values
from chorale.datasets.label_sets import join_labels
from chorale.datasets.synthesis import polyphonic_clips
from chorale.datasets.synthesis.generate import generated_tracks
from chorale.datasets.synthesis.instruments import INSTRUMENTS

if TYPE_CHECKING:
    import pandas as pd

INFO = DatasetInfo(
    name="synthetic_polyphonic",
    title="Chorale's polyphonic corpus: one to four of ten instruments at once, by 36 artists",
    licence="CC0-1.0",
    citation="Composed by Chorale's own code (datasets/synthesis); it contains no recordings",
    homepage="datasets/synthesis in Chorale's own repository",
    labels=tuple(INSTRUMENTS),
    size="0.26 MB a clip of 6 s; 79 MB for the default 300",
    how_to_get="Chorale makes it by itself when it is first used",
    is_generated=True,
)


@config
class Config:
    """Size and seed of the corpus, and where it is stored."""

    root: str = "runs/synthetic_polyphonic"
    """folder for the audio; each config has a sub-folder"""
    n_tracks: Annotated[int, Field(ge=10, le=100_000)] = 300
    """spread evenly over the artists, 16-bit mono wav at 22,050 Hz"""
    n_artists: Annotated[int, Field(ge=2, le=9999)] = 36
    """artists; if there are fewer tracks, only the first ones"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """another seed gives another corpus by other artists"""
    clip_s: Annotated[float, Field(ge=2, le=60)] = 6.0
    """length of each clip in seconds"""


def tracks(config: Config) -> "pd.DataFrame":
    """One row per generated clip: its instruments are its labels, the artist its group.

    The first call generates the audio, an interrupted one is resumed, later ones only check that
    all files exist.

    Raises:
        UserError: the audio cannot be written below `root`, or a worker process was killed.
    """
    clips = polyphonic_clips.plan_clips(n_tracks=config.n_tracks, n_artists=config.n_artists)
    return generated_tracks(
        clips,
        [join_labels(clip.instruments(config.seed)) for clip in clips],
        config.root,
        dataset=INFO.name,
        settings=to_plain_values(config),
        version=polyphonic_clips.POLYPHONY_VERSION,
    )
