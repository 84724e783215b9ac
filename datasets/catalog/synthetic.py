"""Built-in synthetic corpus: rule-based music, generated on the first use, without a download.

The track table has the artist as group. Artists have a characteristic sound that is easier to learn
than the genre, so a split with artists on both sides is too optimistic, as with real music.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from chorale.datasets.atomic import write_json
from chorale.datasets.base import DatasetInfo, track_table
from chorale.datasets.config import config, to_plain_values
from chorale.datasets.errors import UserError
from chorale.datasets.synthesis import SAMPLE_RATE, corpus

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

MANIFEST = "manifest.json"


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
    folder = _folder(config)
    songs = corpus.plan_songs(n_tracks=config.n_tracks, n_artists=config.n_artists)
    try:
        absent = corpus.missing_songs(songs, folder, clip_s=config.clip_s)
        if absent:
            _generate(absent, folder, config)
        _write_manifest(folder, config, songs)
    except OSError as error:
        raise UserError(
            f"dataset '{INFO.name}': cannot write its audio to '{folder}': {error.strerror}; "
            f"free disk space there, or give another folder with --dataset.root FOLDER"
        ) from error
    duration_s = corpus.n_samples(config.clip_s) / SAMPLE_RATE
    return track_table(
        {
            "track_id": song.track_id,
            "path": str(folder / song.file),
            "label": song.genre,
            "group": song.group,
            "duration_s": duration_s,
        }
        for song in songs
    )


def _folder(config: Config) -> Path:
    """The folder of this config and composer version, so that two corpora never mix."""
    values = to_plain_values(config) | {"root": None, "version": corpus.COMPOSER_VERSION}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return Path(config.root).expanduser().absolute() / digest[:12]


def _generate(songs: list[corpus.Song], folder: Path, config: Config) -> None:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    where = f"{len(songs)} tracks in {folder}"
    if not console.is_terminal:
        print(f"composing {where}", file=sys.stderr)
        corpus.write_songs(songs, folder, seed=config.seed, clip_s=config.clip_s)
        print(f"composed {where}", file=sys.stderr)
        return
    columns = (TextColumn("composing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("composing", total=len(songs))
        corpus.write_songs(
            songs,
            folder,
            seed=config.seed,
            clip_s=config.clip_s,
            on_song=lambda: progress.advance(task),
        )


def _write_manifest(folder: Path, config: Config, songs: tuple[corpus.Song, ...]) -> None:
    """Writes a description of the complete corpus for users and other programs."""
    path = folder / MANIFEST
    settings = {name: value for name, value in to_plain_values(config).items() if name != "root"}
    rows = [{"file": song.file, "label": song.genre, "group": song.group} for song in songs]
    value = {"composer_version": corpus.COMPOSER_VERSION, "config": settings, "tracks": rows}
    if not path.is_file():
        write_json(path, value)
