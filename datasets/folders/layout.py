"""The label, official split and fold of a file by its folders: labels, splits or folds on top.

`datasets.catalog.folder` chooses a layout here. What is not clear is refused, because a split that
is read as labels (or the other way round) gives a score of another task.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chorale.datasets.base import SPLIT_NAMES, SPLITS
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.tables.manifest_values import fold_gaps

LayoutName = Literal["auto", "labels", "split", "fold"]

FOLD_NAME = re.compile(r"fold[ _-]?(\d{1,9})", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where a file is: its label, and its official split or fold, if it has one."""

    label: str
    split: str | None = None
    fold: int | None = None


@dataclass(frozen=True)
class FolderLayout:
    """How folders are laid out: `parts` maps a top folder to its split or its fold (from 0).

    `note` is a line for the user; empty where the top folders are labels.
    """

    name: Literal["labels", "split", "fold"]
    parts: Mapping[str, str | int]
    note: str = ""

    def place(self, file: str) -> Place | None:
        """The place of a file, a POSIX path below the root; None if it has no label there."""
        top, *below = file.split("/")
        if self.name == "labels":
            return Place(top) if below else None
        part = self.parts.get(top)
        if part is None or len(below) < 2:
            return None
        return Place(below[0], fold=part) if isinstance(part, int) else Place(below[0], split=part)

    def label_folders(self, folders: Iterable[str]) -> list[str]:
        """Those of `folders` (POSIX paths below the root) that are labels'."""
        if self.name == "labels":
            return [folder for folder in folders if "/" not in folder]
        return [
            folder
            for folder in folders
            if folder.count("/") == 1 and folder.split("/")[0] in self.parts
        ]

    def misplaced(self, file: str) -> str:
        """Why a file has no place: the end of a sentence that begins with what it is."""
        top, *below = file.split("/")
        if self.name != "labels" and below and top not in self.parts:
            return f"in no {self.name} folder"
        return "without a label's folder"


def folder_layout(files: Sequence[str], wanted: LayoutName, *, root: Path) -> FolderLayout:
    """The layout of audio `files`, POSIX paths below `root`; `auto` recognises it.

    Top folders are an official split if they are named train, val (valid, validation, dev) and
    test, or folds if they are named fold1, fold2, ..., with the same labels' folders in each.

    Raises:
        UserError: it is not clear, or the wanted split or folds are not there.
    """
    tops = dict.fromkeys(file.split("/")[0] for file in files if "/" in file)
    splits = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    folds = {top: int(found[1]) for top in tops if (found := FOLD_NAME.fullmatch(top))}
    if wanted == "labels":
        return FolderLayout("labels", {})
    if wanted == "split" or (wanted == "auto" and len(set(splits.values())) > 1):
        if not splits:
            raise _none_of("split", "train, val or test", tops, root)
        layout = FolderLayout("split", splits)
        if wanted == "auto":
            _refuse_unclear(layout, files, list(tops), root=root, problems=_same_part(splits))
        return FolderLayout("split", splits, _split_note(layout, files, root))
    if wanted == "fold" or (wanted == "auto" and len(folds) > 1):
        if not folds:
            raise _none_of("fold", "fold1, fold2, ...", tops, root)
        first = 0 if 0 in folds.values() else 1
        layout = FolderLayout("fold", {top: number - first for top, number in folds.items()})
        problems = _same_part(folds)
        if missing := fold_gaps(set(folds.values())):
            problems.append(f"fold {missing} is missing")
        if wanted == "auto":
            _refuse_unclear(layout, files, list(tops), root=root, problems=problems)
        elif problems:
            raise UserError(
                f"dataset 'folder': the folds below '{root}' cannot be used: "
                f"{'; '.join(problems)}; rename the folders, or type --dataset.layout labels"
            )
        return FolderLayout("fold", layout.parts, _fold_note(layout, files, root))
    return FolderLayout("labels", {})


def _refuse_unclear(
    layout: FolderLayout,
    files: Sequence[str],
    tops: Sequence[str],
    *,
    root: Path,
    problems: Iterable[str],
) -> None:
    """Refuses folders that may be labels as well as parts, with both lines to choose from."""
    found = list(problems)
    if others := [f"'{top}'" for top in tops if top not in layout.parts]:
        found.append(f"beside them there is {join_first(others)}")
    loose = [file for file in files if file.count("/") == 1 and file.split("/")[0] in layout.parts]
    if loose:
        found.append(f"{len(loose)} files in them are in no label's folder, such as '{loose[0]}'")
    found += _other_labels(layout, files)
    if not found:
        return
    names = join_first(f"'{top}'" for top in layout.parts)
    what = "an official split" if layout.name == "split" else "folds"
    table = "\n  --dataset.manifest FILE   a table names the labels" if loose else ""
    raise UserError(
        f"dataset 'folder': {names} in '{root}' may be {what} or labels, because "
        f"{'; '.join(found)}; choose one:\n"
        f"  --dataset.layout {layout.name:<8} {names} are {what}, and the labels are the folders "
        f"below them\n"
        f"  --dataset.layout {'labels':<8} every folder in '{root}' is a label{table}"
    )


def _other_labels(layout: FolderLayout, files: Sequence[str]) -> list[str]:
    """What labels a part lacks that another has."""
    labels: dict[str | int, set[str]] = {part: set() for part in layout.parts.values()}
    for file in files:
        if (place := layout.place(file)) is not None:
            labels[_part(place)].add(place.label)
    every = set().union(*labels.values())
    top_of = {part: top for top, part in layout.parts.items()}
    found = []
    for part, there in labels.items():
        lacking = [f"'{name}'" for name in sorted(every - there)]
        if lacking and there:
            found.append(f"'{top_of[part]}' has no audio of {join_first(lacking)}")
    return found


def _part(place: Place) -> str | int:
    return place.split if place.split is not None else int(place.fold or 0)


def _same_part(parts: Mapping[str, str | int]) -> list[str]:
    """Folders that name one part twice, such as val and validation."""
    found = []
    for part in dict.fromkeys(parts.values()):
        tops = [f"'{top}'" for top, of in parts.items() if of == part]
        if len(tops) > 1:
            found.append(f"{' and '.join(tops)} are the same part")
    return found


def _none_of(name: str, usual: str, tops: Iterable[str], root: Path) -> UserError:
    got = join_first(f"'{top}'" for top in tops) or "no folder with audio"
    return UserError(
        f"dataset 'folder': --dataset.layout {name} needs folders named {usual} in '{root}', but "
        f"there is {got}; rename them, or type --dataset.layout labels"
    )


def _counts(layout: FolderLayout, files: Sequence[str]) -> dict[str | int, int]:
    counts = dict.fromkeys(layout.parts.values(), 0)
    for file in files:
        if (place := layout.place(file)) is not None:
            counts[_part(place)] += 1
    return counts


def _split_note(layout: FolderLayout, files: Sequence[str], root: Path) -> str:
    counts = _counts(layout, files)
    sizes = ", ".join(f"{part} {counts[part]}" for part in SPLITS if part in counts)
    test = "test is locked" if "test" in counts else "there is no test, so that it is drawn"
    rest = ", and train and valid are divided into folds together" if "valid" in counts else ""
    return (
        f"{join_first(layout.parts)} in '{root}' are read as the official split ({sizes} tracks): "
        f"{test}{rest}; if they are labels, type --dataset.layout labels"
    )


def _fold_note(layout: FolderLayout, files: Sequence[str], root: Path) -> str:
    counts = _counts(layout, files)
    least, most = min(counts.values()), max(counts.values())
    sizes = f"{least} tracks" if least == most else f"{least} to {most} tracks"
    return (
        f"{join_first(layout.parts)} in '{root}' are read as {len(counts)} official folds of "
        f"{sizes}; if they are labels, type --dataset.layout labels"
    )
