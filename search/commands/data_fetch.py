"""`chorale data fetch NAME --root FOLDER [--part PART]`: downloads a dataset."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from chorale.datasets import catalog, plugins
from chorale.datasets.download.fetch import fetch_dataset, select_downloads
from chorale.datasets.errors import UserError, unknown_name_error

HELP = """\
usage: chorale data fetch NAME --root FOLDER [--part PART]

Downloads the dataset NAME into FOLDER, verifies its checksum and unpacks it. Existing files are
kept; an interrupted download is resumed by typing the same again. --part chooses the part of a
dataset that has several, and can be given more than once.
`chorale data list` shows the datasets, and how to get those that no program may download.
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from rich.console import Console

    from chorale.search.commands.download_progress import DownloadProgress

    given = _parse(args)
    info = plugins.load_plugin(catalog, given.name, kind="dataset").INFO
    select_downloads(info, given.parts)
    if given.root is None:
        raise UserError(
            f"--root is missing: the folder to put '{given.name}' into; "
            f"type: chorale data fetch {given.name} --root FOLDER"
        )
    root = Path(given.root).expanduser()
    # A log file has no width of its own; 80 columns would break long lines.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    try:
        with DownloadProgress(console) as display:
            fetch_dataset(info, root, parts=given.parts, listener=display)
    except KeyboardInterrupt:
        again = shlex.join(["chorale", "data", "fetch", *args])
        print(f"\nInterrupted; what has been downloaded is kept. Resume with:  {again}")
        raise
    where = shlex.join(["--dataset.name", given.name, "--dataset.root", given.root])
    print(f"Use it with:  {where}")
    return 0


class _FetchOptions(NamedTuple):
    name: str
    root: str | None
    parts: tuple[str, ...]


def _parse(args: Sequence[str]) -> _FetchOptions:
    """Parses the arguments after `chorale data fetch`."""
    names: list[str] = []
    options: dict[str, list[str]] = {"--root": [], "--part": []}
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if not arg.startswith("-"):
            names.append(arg)
            continue
        key, equals, value = arg.partition("=")
        if key not in options:
            raise unknown_name_error("option", key, options)
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UserError(f"{key} needs a value: {key} {key[2:].upper()}")
            value = rest.pop(0)
        options[key].append(value)
    if len(names) != 1:
        raise UserError(
            f"expected the name of one dataset, but got {' '.join(names) or 'none'}; "
            f"choose from: {', '.join(plugins.plugin_names(catalog))}"
        )
    root = options["--root"][-1] if options["--root"] else None
    return _FetchOptions(names[0], root, tuple(options["--part"]))
