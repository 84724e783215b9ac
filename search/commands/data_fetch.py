"""`chorale data fetch NAME --root FOLDER`: downloads a dataset."""

import shlex
from pathlib import Path

import click

from chorale.datasets import catalog, plugins
from chorale.datasets.download.fetch import fetch_dataset, select_downloads
from chorale.search.commands.command import command, require, typed_command
from chorale.search.commands.console import console
from chorale.search.commands.parameters import DatasetName


@command(
    examples=[
        "chorale data fetch fsdd --root data/fsdd",
        "chorale data fetch fma --root data/fma --part fma_small",
    ]
)
@click.argument("name", type=DatasetName())
@click.option("--root", metavar="FOLDER", help="The folder to put it into; required.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    metavar="PART",
    help="The part of a dataset that has several; may be given more than once.",
)
def run(name: str, root: str | None, parts: tuple[str, ...]) -> int:
    """Downloads the dataset NAME, verifies its checksum and unpacks it.

    Existing files are kept; an interrupted download is resumed by typing the same again. chorale
    data list shows the datasets, and how to get those that no program may download.
    """
    from chorale.search.commands.download_progress import DownloadProgress

    info = plugins.load_plugin(catalog, name, kind="dataset").INFO
    select_downloads(info, parts)
    require(
        root,
        f"--root is missing: the folder to put '{name}' into; type: chorale data fetch {name} "
        f"--root FOLDER",
    )
    try:
        with DownloadProgress(console()) as display:
            fetch_dataset(info, Path(str(root)).expanduser(), parts=parts, listener=display)
    except KeyboardInterrupt:
        again = typed_command()
        print(f"\nInterrupted; what has been downloaded is kept. Resume with:  {again}")
        raise
    where = shlex.join(["--dataset.name", name, "--dataset.root", str(root)])
    print(f"Use it with:  {where}")
    return 0
