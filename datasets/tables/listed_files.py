"""The files that a dataset's table lists: which of them are there, and how many are not.

Datasets of `catalog` call it with the names in their tables.
"""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from chorale.datasets.errors import UserError, join_first

_log = logging.getLogger("chorale")


def are_present(
    names: Sequence[str],
    existing: Collection[str],
    *,
    audio: str | Path,
    dataset: str,
    expected: str,
    noun: str = "recordings",
) -> list[bool]:
    """Whether each of the listed files exists; missing ones are counted in the log.

    Args:
        names: the files that a table lists.
        existing: the files that are there.
        audio: where they are looked for.
        dataset: the dataset's name, for messages.
        expected: what the root folder must contain, for the error.
        noun: what the files are, for messages.

    Raises:
        UserError: none of them exists.
    """
    found = [name in existing for name in names]
    missing = [name for name, there in zip(names, found, strict=True) if not there]
    if len(missing) == len(names):
        raise UserError(
            f"dataset '{dataset}': none of the {len(names)} {noun} that its table lists is in "
            f"'{audio}', such as {join_first(missing, most=1)}; give the folder that contains "
            f"{expected} with --dataset.root FOLDER"
        )
    if missing:
        _log.warning(
            "%s: %d of %d %s are not in %s: %s",
            dataset,
            len(missing),
            len(names),
            noun,
            audio,
            join_first(missing),
        )
    return found
