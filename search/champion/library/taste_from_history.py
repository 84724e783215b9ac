"""Taste profile from a listening history: looks up its tracks, or embeds files not in the library.

`search.champion.library.playlist` makes a playlist from the resulting `Taste`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from chorale.datasets import audio
from chorale.datasets.audio import AudioError
from chorale.datasets.errors import UserError
from chorale.search.bundle.predictor import Predictor, TrackPrediction
from chorale.search.champion.library.history import Play
from chorale.search.champion.library.library import Library
from chorale.search.champion.library.taste import Taste
from chorale.search.champion.library.track import normalized_name


def taste_from_history(
    library: Library,
    plays: Sequence[Play],
    *,
    beside: Path,
    predictor: Callable[[], Predictor],
    warn: Callable[[str], None],
) -> Taste:
    """The taste profile of a history; weights of one track's rows are added.

    A path is looked up as it is, then relative to the folder `beside`; a moved file is found by
    its content, and a row without a path by title and artist.

    Args:
        library: where tracks are looked up first.
        plays: the rows of the history.
        beside: the folder of the history.
        predictor: gives the library's bundle; called only where a file must be embedded.
        warn: gets a line for each row that is not in the library.

    Raises:
        UserError: none of the rows can be used, or a file given on the command line cannot.
    """
    weights: dict[str, float] = {}
    embedded: dict[str, TrackPrediction] = {}
    for play in plays:
        place = _place(play.path, beside)
        row = _row(library, play, place)
        try:
            if row is not None:
                content = library.content.tracks[row].content
            elif place is None:
                raise AudioError(play.display_name, "missing", "neither a file nor in the library")
            else:
                content = audio.content_hash(place)
                if content not in embedded and content not in library.by_content:
                    embedded[content] = predictor().predict_file(place)
                    if play.line:
                        warn(f"line {play.line}: '{play.display_name}' is not in the library; its "
                             f"file is embedded")  # fmt: skip
        except AudioError as error:
            if not play.line:
                raise UserError(f"--like {error}; name a recording") from None
            warn(f"line {play.line}: {error}; it is left out")
            continue
        weights[content] = weights.get(content, 0.0) + play.weight
    if not weights:
        raise UserError(
            f"none of the {len(plays)} tracks that were listened to can be used; name existing "
            f"files, or tracks of the library: chorale library list --library {library.paths.root}"
        )
    return _taste(library, weights, embedded)


def _place(path: str, beside: Path) -> Path | None:
    """The absolute path of the file, where it exists."""
    if not path:
        return None
    given = Path(path).expanduser()
    for place in (given, beside / given):
        if place.is_file():
            return Path(os.path.abspath(place))  # noqa: PTH100 - `..` goes, links stay
    return None


def _row(library: Library, play: Play, place: Path | None) -> int | None:
    if place is not None:
        return library.by_path.get(str(place))
    if play.path and (row := library.by_path.get(play.path)) is not None:
        return row
    if not play.title:
        return None
    return library.by_name.get((normalized_name(play.title), normalized_name(play.artist)))


def _taste(
    library: Library, weights: Mapping[str, float], embedded: Mapping[str, TrackPrediction]
) -> Taste:
    embeddings, genres = [], []
    for content in weights:
        if content in embedded:
            embeddings.append(embedded[content].embedding)
            genres.append(embedded[content].best)
        else:
            row = library.by_content[content]
            embeddings.append(library.content.embeddings[row])
            genres.append(int(library.genres[row]))
    return Taste(
        np.stack(embeddings),
        np.array(genres, np.intp),
        np.array(list(weights.values()), np.float64),
        frozenset(weights),
    )
