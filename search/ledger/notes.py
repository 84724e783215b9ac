"""A user's note on a study, and its tags: a file in the study's folder, which no sweep reads."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chorale.datasets.atomic import write_json
from chorale.datasets.errors import UserError
from chorale.search.paths import StudyPaths


@dataclass(frozen=True)
class StudyNotes:
    """A text of any length, empty for none, and tags, sorted."""

    note: str = ""
    tags: tuple[str, ...] = ()


def read_notes(paths: StudyPaths) -> StudyNotes:
    """Reads what `write_notes` wrote; empty where nothing was noted.

    Raises:
        UserError: the file is damaged.
    """
    try:
        content = json.loads(paths.notes_json.read_text(encoding="utf-8"))
        return StudyNotes(str(content["note"]), tuple(map(str, content["tags"])))
    except FileNotFoundError:
        return StudyNotes()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the notes on a study cannot be read ({error}); repair or delete {paths.notes_json}"
        ) from None


def write_notes(paths: StudyPaths, notes: StudyNotes) -> None:
    """Writes note and tags; removes the file where both are empty.

    Raises:
        UserError: the study's folder is not there.
    """
    if not paths.root.is_dir():
        raise UserError(
            f"there is no folder '{paths.root}' of the study; name the folder of all studies with "
            f"--runs FOLDER"
        )
    if notes == StudyNotes():
        paths.notes_json.unlink(missing_ok=True)
        return
    write_json(paths.notes_json, {"note": notes.note, "tags": list(notes.tags)})


def with_tags(
    notes: StudyNotes, *, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> StudyNotes:
    """The notes with tags added and removed.

    Raises:
        UserError: a tag to be removed is not there, or one is empty or has a comma.
    """
    for tag in (*add, *remove):
        if not tag.strip() or "," in tag:
            raise UserError(f"a tag should be a word without commas, but got '{tag}'")
    missing = [tag for tag in remove if tag not in notes.tags]
    if missing:
        have = ", ".join(notes.tags) or "none"
        raise UserError(f"the study has no tag '{missing[0]}'; it has: {have}")
    return replace(notes, tags=tuple(sorted({*notes.tags, *add} - {*remove})))
