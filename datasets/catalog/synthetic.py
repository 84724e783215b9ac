"""The built-in corpus: music composed by rules, made on the first use, without any download.

Gives the track table with the artist as group. Artists have a sound of their own that is easier to
learn than the genre, so a split with artists on both sides flatters a classifier as real ones do.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from chorale.datasets.atomic import write_json
from chorale.datasets.base import DatasetInfo, track_table
from chorale.datasets.config import config, plain
from chorale.datasets.errors import UserError
from chorale.datasets.synthesis import SAMPLE_RATE, corpus

if TYPE_CHECKING:
    import pandas as pd

INFO = DatasetInfo(
    name="synthetic",
    title="Chorale's synthetic corpus: ten genres of music composed by rules",
    licence="CC0-1.0",
    citation="Composed by Chorale's own code (datasets/synthesis); it holds no recordings",
    homepage="datasets/synthesis in Chorale's own repository",
    labels=corpus.labels(),
    size="0.26 MB a track of 6 s; 106 MB for the default 400",
    how_to_get="Chorale makes it by itself when it is first used; type: chorale sweep",
    is_made=True,
)

MANIFEST = "manifest.json"


@config
class Config:
    """How much is composed, from which seed, and where it is kept."""

    root: str = "runs/synthetic"
    """folder for the audio; each config has a folder of its own below"""
    n_tracks: Annotated[int, Field(ge=10, le=100_000)] = 400
    """spread evenly over ten genres, 16-bit mono wav at 22,050 Hz"""
    n_artists: Annotated[int, Field(ge=2, le=99)] = 10
    """artists of each genre; the first ones only, where there are fewer tracks"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """another seed is another corpus, by other artists"""
    clip_s: Annotated[float, Field(ge=0.5, le=60)] = 6.0
    """length of each track in seconds"""


def tracks(config: Config) -> "pd.DataFrame":
    """A row for each composed track: the genre is its label, the artist its group.

    The first call makes the audio, an interrupted one is taken up where it ended, later ones only
    look whether all files are there.

    Raises:
        UserError: the audio cannot be written below `root`, or a worker process was killed.
    """
    folder = _folder(config)
    songs = corpus.plan(n_tracks=config.n_tracks, n_artists=config.n_artists)
    try:
        absent = corpus.missing(songs, folder, clip_s=config.clip_s)
        if absent:
            _make(absent, folder, config)
        _write_manifest(folder, config, songs)
    except OSError as error:
        raise UserError(
            f"dataset '{INFO.name}': cannot keep its audio in '{folder}': {error.strerror}; "
            f"make room there, or give another folder with --dataset.root FOLDER"
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
    """One folder for each corpus that can differ, so that two never mix."""
    values = plain(config) | {"root": None, "version": corpus.VERSION}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return Path(config.root).expanduser().absolute() / digest[:12]


def _make(songs: list[corpus.Song], folder: Path, config: Config) -> None:
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
        corpus.make(songs, folder, seed=config.seed, clip_s=config.clip_s)
        print(f"composed {where}", file=sys.stderr)
        return
    columns = (TextColumn("composing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("composing", total=len(songs))
        corpus.make(
            songs,
            folder,
            seed=config.seed,
            clip_s=config.clip_s,
            on_song=lambda: progress.advance(task),
        )


def _write_manifest(folder: Path, config: Config, songs: tuple[corpus.Song, ...]) -> None:
    """Says for people and other programs what the folder holds, once it is all there."""
    path = folder / MANIFEST
    settings = {name: value for name, value in plain(config).items() if name != "root"}
    rows = [{"file": song.file, "label": song.genre, "group": song.group} for song in songs]
    value = {"composer_version": corpus.VERSION, "config": settings, "tracks": rows}
    if not path.is_file():
        write_json(path, value)
