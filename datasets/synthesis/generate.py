"""Synthetic corpus for a dataset: its missing files with progress, its manifest, its track table.

The datasets `synthetic` and `synthetic_polyphonic` call it; `corpus` writes the files.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.datasets.atomic import write_json
from chorale.datasets.base import track_table
from chorale.datasets.errors import UserError
from chorale.datasets.synthesis import SAMPLE_RATE, corpus

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.json"


def generated_tracks(
    songs: Sequence[corpus.Track],
    labels: Sequence[str],
    root: str,
    *,
    dataset: str,
    settings: Mapping[str, Any],
    version: int,
) -> "pd.DataFrame":
    """The track table of a corpus, whose missing files are generated, with a manifest beside them.

    An interrupted call is resumed by the next; where all files exist, nothing is written.

    Args:
        songs: all tracks of the corpus.
        labels: the label of each.
        root: the folder of all such corpora.
        dataset: the dataset's name, for errors.
        settings: the values of its config, with `seed` and `clip_s`.
        version: the composer's version.

    Raises:
        UserError: the files cannot be written, or a worker process was killed.
    """
    folder = corpus_folder(root, settings, version=version)
    rows = [
        {"file": song.file, "label": label, "group": song.group}
        for song, label in zip(songs, labels, strict=True)
    ]
    try:
        absent = corpus.missing_songs(songs, folder, clip_s=settings["clip_s"])
        if absent:
            _write(absent, folder, seed=settings["seed"], clip_s=settings["clip_s"])
        if not (folder / MANIFEST).is_file():
            values = {name: value for name, value in settings.items() if name != "root"}
            content = {"composer_version": version, "config": values, "tracks": rows}
            write_json(folder / MANIFEST, content)
    except OSError as error:
        raise UserError(
            f"dataset '{dataset}': cannot write its audio to '{folder}': {error.strerror}; "
            f"free disk space there, or give another folder with --dataset.root FOLDER"
        ) from error
    return track_table(
        {
            "track_id": song.track_id,
            "path": str(folder / row["file"]),
            "label": row["label"],
            "group": row["group"],
            "duration_s": corpus.n_samples(settings["clip_s"]) / SAMPLE_RATE,
        }
        for song, row in zip(songs, rows, strict=True)
    )


def corpus_folder(root: str, settings: Mapping[str, Any], *, version: int) -> Path:
    """The folder of these settings and composer version, so that two corpora never mix.

    `settings` are the values of the dataset's config; its root makes no difference.
    """
    values = {**settings, "root": None, "version": version}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return Path(root).expanduser().absolute() / digest[:12]


def _write(songs: Sequence[corpus.Track], folder: Path, *, seed: int, clip_s: float) -> None:
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
        corpus.write_songs(songs, folder, seed=seed, clip_s=clip_s)
        print(f"composed {where}", file=sys.stderr)
        return
    columns = (TextColumn("composing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("composing", total=len(songs))
        corpus.write_songs(
            songs,
            folder,
            seed=seed,
            clip_s=clip_s,
            on_song=lambda: progress.advance(task),
        )
