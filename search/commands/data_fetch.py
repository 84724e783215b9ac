"""`chorale data fetch NAME --root FOLDER [--part PART]`."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from chorale.datasets import catalog, plugins
from chorale.datasets.download.fetch import chosen, fetch
from chorale.datasets.errors import UserError, unknown

HELP = """\
usage: chorale data fetch NAME --root FOLDER [--part PART]

Downloads the dataset NAME into FOLDER, verifies its checksum and unpacks it. What is there already
is left alone; an interrupted download goes on where it stopped when the same is typed again.
--part chooses the part of a dataset that has several, and can be given more than once.
`chorale data list` shows the datasets, and how to get those that no program may download.
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    from rich.console import Console

    from chorale.search.commands.data_fetch_display import FetchDisplay

    given = _read(words)
    info = plugins.load(catalog, given.name, kind="dataset").INFO
    chosen(info, given.parts)
    if given.root is None:
        raise UserError(
            f"--root is missing: the folder to put '{given.name}' into; "
            f"type: chorale data fetch {given.name} --root FOLDER"
        )
    root = Path(given.root).expanduser()
    # A log file has no width of its own; 80 columns would break long lines.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    try:
        with FetchDisplay(console) as display:
            fetch(info, root, parts=given.parts, listener=display)
    except KeyboardInterrupt:
        again = shlex.join(["chorale", "data", "fetch", *words])
        print(f"\nInterrupted; what has been downloaded is kept. Go on with:  {again}")
        raise
    where = shlex.join(["--dataset.name", given.name, "--dataset.root", given.root])
    print(f"Use it with:  {where}")
    return 0


class _Given(NamedTuple):
    name: str
    root: str | None
    parts: tuple[str, ...]


def _read(words: Sequence[str]) -> _Given:
    """What a person typed after `chorale data fetch`."""
    names: list[str] = []
    options: dict[str, list[str]] = {"--root": [], "--part": []}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            names.append(word)
            continue
        key, equals, value = word.partition("=")
        if key not in options:
            raise unknown("option", key, options)
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UserError(f"{key} needs a value: {key} {key[2:].upper()}")
            value = rest.pop(0)
        options[key].append(value)
    if len(names) != 1:
        raise UserError(
            f"expected the name of one dataset, but got {' '.join(names) or 'none'}; "
            f"choose from: {', '.join(plugins.names(catalog))}"
        )
    root = options["--root"][-1] if options["--root"] else None
    return _Given(names[0], root, tuple(options["--part"]))
