"""Which column of a manifest has which role: named by the user, or recognised by usual names."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from chorale.datasets.errors import UserError

ROLES = ("path", "label", "group", "split", "fold", "time", "unknown")
REQUIRED = ("path", "label")

NO_COLUMN = "none"
"""What the user names where a column of a role's name has another meaning."""

# fmt: off
USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "path": (
        "path", "filename", "file_name", "file", "filepath", "file_path", "audio", "audio_path",
        "audio_file", "fname", "slice_file_name", "wav",
    ),
    "label": (
        "label", "labels", "category", "class", "class_name", "classname", "genre", "species",
        "primary_label", "label_name",
    ),
}
"""Names that a column of a role has in the manifests of published datasets."""
# fmt: on

_AUDIO_ENDINGS = (".wav", ".mp3", ".flac", ".ogg", ".m4a", ".au", ".aiff", ".opus")


def choose_columns(
    manifest: Path, header: Sequence[str], wanted: Mapping[str, str | None]
) -> tuple[dict[str, int], str]:
    """The position of each role's column, and a line that says so where something was recognised.

    The header `path,label` (with group, split, fold, time and unknown) is taken as it is. Otherwise
    a column is recognised by a usual name, if only one has such a name.

    Args:
        manifest: its path, for errors.
        header: the names of the columns.
        wanted: role -> the column that the user named; `NO_COLUMN` for none.

    Raises:
        UserError: a column is missing, named twice, or not clear; all problems are listed.
    """
    chosen: dict[str, int] = {}
    problems: list[str] = []
    is_standard = all(name in header for name in REQUIRED)
    for role in ROLES:
        name = wanted.get(role)
        if name == NO_COLUMN and role not in REQUIRED:
            continue
        if name:
            candidates = [at for at, column in enumerate(header) if column == name]
            if not candidates:
                problems.append(_unknown(role, name, header))
                continue
        elif is_standard or role not in REQUIRED:
            candidates = [at for at, column in enumerate(header) if column == role]
            candidates = candidates or [
                at for at, column in enumerate(header) if column.lower() == role
            ]
        else:
            candidates = [
                at for at, column in enumerate(header) if column.lower() in USUAL_NAMES[role]
            ]
        if len(candidates) == 1:
            chosen[role] = candidates[0]
        elif candidates:
            problems.append(_several(role, [header[at] for at in candidates]))
        elif role in REQUIRED:
            problems.append(role)
    if problems:
        raise UserError(_problem_text(manifest, header, problems))
    return chosen, _note(header, chosen, wanted)


def _unknown(role: str, name: str, header: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, header, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return (
        f"--dataset.columns.{role} names '{name}', which is no column; {hint}choose from: "
        f"{', '.join(header)}"
    )


def _several(role: str, names: Sequence[str]) -> str:
    if len(set(names)) == 1:
        return f"{len(names)} columns are named '{names[0]}'; rename or remove all but one"
    either = " or ".join(f"--dataset.columns.{role} {name}" for name in names)
    return f"{' and '.join(f'{name!r}' for name in names)} may be the {role}; type {either}"


def _problem_text(manifest: Path, header: Sequence[str], problems: Sequence[str]) -> str:
    absent = [problem for problem in problems if problem in REQUIRED]
    texts = [problem for problem in problems if problem not in REQUIRED]
    line = ",".join(header)
    if absent:
        free = [name for name in header if name not in ROLES]
        hints = [
            f"did you mean '{role}' instead of '{near}'? "
            for role in absent
            for near in difflib.get_close_matches(role, free, n=1, cutoff=0.5)
        ]
        example = "; ".join(f"--dataset.columns.{role} COLUMN" for role in absent)
        what = f"name {' and '.join(absent)} with {example}"
        if any(name.lower().endswith(_AUDIO_ENDINGS) for name in header):
            what = "it looks like a row, so put the line path,label above it"
        elif len(header) == 1:
            what += "; cells are separated by commas, semicolons, tabs or bars"
        texts.insert(
            0,
            f"it lacks the column {' and '.join(absent)}; its first line is '{line}'; "
            f"{''.join(hints)}{what}",
        )
    else:
        texts.append(f"its first line is '{line}'")
    return "\n  ".join([f"manifest '{manifest}' must be fixed:", *texts])


def _note(
    header: Sequence[str], chosen: Mapping[str, int], wanted: Mapping[str, str | None]
) -> str:
    """What was recognised and what is not used; empty where the user could expect all of it."""
    guessed = {role for role, at in chosen.items() if header[at] != role and not wanted.get(role)}
    unused = [name for at, name in enumerate(header) if at not in chosen.values() and name]
    if not guessed and not unused:
        return ""
    used = ", ".join(f"{role} is '{header[at]}'" for role, at in chosen.items())
    left = f"; not used: {', '.join(unused)}" if unused else ""
    hint = ""
    if unused and "group" not in chosen and wanted.get("group") != NO_COLUMN:
        hint = " (if one names the recording, artist or speaker, type --dataset.columns.group NAME)"
    return f"{used}{left}{hint}"
