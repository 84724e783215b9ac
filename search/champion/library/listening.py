"""Finds what was listened to: in the library, else by its file, which the bundle then hears.

Gives a `Taste`; `search.champion.library.playlist` goes on from there.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from chorale.datasets import audio
from chorale.datasets.audio import AudioError
from chorale.datasets.errors import UserError
from chorale.search.bundle.predictor import Guess, Predictor
from chorale.search.champion.library.history import Play
from chorale.search.champion.library.library import Library
from chorale.search.champion.library.taste import Taste
from chorale.search.champion.library.track import folded


def taste_of(
    library: Library,
    plays: Sequence[Play],
    *,
    beside: Path,
    predictor: Callable[[], Predictor],
    say: Callable[[str], None],
) -> Taste:
    """What was listened to, rows of one track together.

    A path is looked up as it stands, then from the folder `beside`; a file that lies elsewhere by
    now is found by its content, and a row without a path by title and artist.

    Args:
        library: where the tracks are looked for first.
        plays: the rows.
        beside: the folder of the history.
        predictor: gives the bundle that heard the library; called when a file must be heard.
        say: is told of each row that is not in the library, and what became of it.

    Raises:
        UserError: not one of them can be used, or one that was named by itself cannot.
    """
    weights: dict[str, float] = {}
    heard: dict[str, Guess] = {}
    for play in plays:
        place = _place(play.path, beside)
        row = _row(library, play, place)
        try:
            if row is not None:
                content = library.content.tracks[row].content
            elif place is None:
                raise AudioError(play.said, "missing", "neither a file nor in the library")
            else:
                content = audio.content_hash(place)
                if content not in heard and content not in library.by_content:
                    heard[content] = predictor().of_file(place)
                    if play.line:
                        say(f"line {play.line}: '{play.said}' is not in the library; its file is "
                            f"heard")  # fmt: skip
        except AudioError as error:
            if not play.line:
                raise UserError(f"--like {error}; name a recording") from None
            say(f"line {play.line}: {error}; it is left out")
            continue
        weights[content] = weights.get(content, 0.0) + play.weight
    if not weights:
        raise UserError(
            f"of {len(plays)} tracks that were listened to not one can be used; name files that "
            f"exist, or tracks of the library: chorale library list --library {library.paths.root}"
        )
    return _taste(library, weights, heard)


def _place(path: str, beside: Path) -> Path | None:
    """The file, where there is one."""
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
    return library.by_name.get((folded(play.title), folded(play.artist)))


def _taste(library: Library, weights: Mapping[str, float], heard: Mapping[str, Guess]) -> Taste:
    embeddings, genres = [], []
    for content in weights:
        if content in heard:
            embeddings.append(heard[content].embedding)
            genres.append(heard[content].best)
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
