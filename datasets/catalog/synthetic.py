"""Built-in synthetic corpus: rule-based music, generated on the first use, without a download.

The track table has the artist as group. Artists have a characteristic sound that is easier to learn
than the genre, so a split with artists on both sides is too optimistic, as with real music.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from chorale.datasets.base import DatasetInfo
from chorale.datasets.config import config, to_plain_values
from chorale.datasets.synthesis import corpus
from chorale.datasets.synthesis.generate import generated_tracks

if TYPE_CHECKING:
    import pandas as pd

INFO = DatasetInfo(
    name="synthetic",
    title="Chorale's synthetic corpus: ten genres of music composed by rules",
    licence="CC0-1.0",
    citation="Composed by Chorale's own code (datasets/synthesis); it contains no recordings",
    homepage="datasets/synthesis in Chorale's own repository",
    labels=corpus.genre_names(),
    size="0.26 MB a track of 6 s; 106 MB for the default 400",
    how_to_get="Chorale makes it by itself when it is first used; type: chorale sweep",
    is_generated=True,
)


@config
class Config:
    """Size and seed of the corpus, and where it is stored."""

    root: str = "runs/synthetic"
    """folder for the audio; each config has a sub-folder"""
    n_tracks: Annotated[int, Field(ge=10, le=100_000)] = 400
    """spread evenly over ten genres, 16-bit mono wav at 22,050 Hz"""
    n_artists: Annotated[int, Field(ge=2, le=99)] = 10
    """artists of each genre; if there are fewer tracks, only the first ones"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """another seed gives another corpus by other artists"""
    clip_s: Annotated[float, Field(ge=0.5, le=60)] = 6.0
    """length of each track in seconds"""


def tracks(config: Config) -> "pd.DataFrame":
    """One row per generated track: the genre is its label, the artist its group.

    The first call generates the audio, an interrupted one is resumed, later ones only check that
    all files exist.

    Raises:
        UserError: the audio cannot be written below `root`, or a worker process was killed.
    """
    songs = corpus.plan_songs(n_tracks=config.n_tracks, n_artists=config.n_artists)
    return generated_tracks(
        songs,
        [song.genre for song in songs],
        config.root,
        dataset=INFO.name,
        settings=to_plain_values(config),
        version=corpus.COMPOSER_VERSION,
    )
