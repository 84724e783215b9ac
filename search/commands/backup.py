"""`chorale backup FILE`: all studies with their ledger, in one archive."""

import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.search.commands.command import command, require
from chorale.search.commands.console import console, progress_console
from chorale.search.commands.output_file import require_writable
from chorale.search.commands.parameters import FILE
from chorale.search.commands.study_options import StudyOptions, ledger_options

if TYPE_CHECKING:
    from chorale.search.paths import Runs

MODES = {".tar": "w:", ".tar.gz": "w:gz", ".tgz": "w:gz"}
"""End of the archive's name -> how tarfile writes it."""

LEFT_OUT = ("cache", "synthetic")
"""Folders beside the studies that can be made again."""

OF_THIS_MACHINE = ("writer.json", "arrived.json")
"""Files beside the studies that say what this machine has of a bucket."""


@command(examples=["chorale backup all.tar", "chorale backup /media/disk/all.tar --runs my_runs"])
@click.argument("file", type=FILE)
@ledger_options
def run(given: StudyOptions, file: Path) -> int:
    """Writes all studies, champions, nights and the library of a folder into one archive.

    The ledger is part of it, also while studies are running: what is in the ledger is in the
    archive. Left out is what can be made again: cached features and the synthetic corpus. FILE ends
    in .tar, or in .tar.gz to compress it, which saves little, as weights hardly shrink. A ledger in
    PostgreSQL is not part of it: pg_dump writes that.
    """
    mode = _mode(file.name)
    require(mode, f"FILE should end in {', '.join(MODES)}, but got {file}")
    given.refuse_bucket("backed up")
    given.open().close()
    runs, file = given.runs, require_writable(file, option="chorale backup")
    ledger = _ledger_file(given)
    written = _write(runs, ledger, file, mode=str(mode))
    out = console()
    size = file.stat().st_size / 1e9
    out.print(f"{written.n_files:,} files, {size:.2f} GB: {file}", markup=False, soft_wrap=True)
    if written.gone:
        few = ", ".join(written.gone[:3])
        out.print(f"Removed meanwhile: {len(written.gone)} ({few})", markup=False, soft_wrap=True)
    if ledger is None:
        out.print("Without the ledger, which pg_dump writes.", markup=False)
    line = f"Restore with: tar -xf {file} -C FOLDER, then --runs FOLDER/{runs.root.resolve().name}"
    out.print(line, markup=False, soft_wrap=True)
    return 0


def _mode(name: str) -> str | None:
    return next((mode for end, mode in MODES.items() if name.endswith(end)), None)


def _ledger_file(given: StudyOptions) -> Path | None:
    """The ledger's file; None where it is in PostgreSQL."""
    from sqlalchemy import make_url

    url = make_url(given.store or given.runs.ledger_url)
    return Path(url.database) if url.drivername.startswith("sqlite") and url.database else None


@dataclass
class _Written:
    """What is in the archive, and which files were removed while it was written."""

    n_files: int = 0
    n_bytes: int = 0
    gone: list[str] = field(default_factory=list)


def _write(runs: "Runs", ledger: Path | None, file: Path, *, mode: str) -> _Written:
    """Writes the archive; whatever was in its place stays until it is complete.

    Raises:
        UserError: a file cannot be read.
    """
    from chorale.datasets.atomic import atomic_write
    from chorale.datasets.disk import UNWRITABLE_ERRNOS
    from chorale.datasets.errors import UserError
    from chorale.search.console.ticker import StatusTicker
    from chorale.search.ledger.snapshot import copy_ledger

    written, out, began = _Written(), progress_console(), time.perf_counter()

    def show() -> None:
        took = time.perf_counter() - began
        out.print(f"  {written.n_files:,} files, {written.n_bytes / 1e9:.2f} GB, {took:.0f} s")

    prefix = Path(runs.root.resolve().name)
    ticker = StatusTicker.of(out)
    with (
        atomic_write(file) as temporary,
        tarfile.open(temporary, mode) as archive,  # type: ignore[call-overload]
        ticker, ticker.printing(show),
    ):  # fmt: skip
        if ledger is not None:
            # first: the files of a run are written before its row in the ledger
            copy = temporary.with_name(f"{temporary.name}.ledger")
            try:
                copy_ledger(ledger, copy)
                archive.add(copy, prefix / runs.ledger.name)
            finally:
                copy.unlink(missing_ok=True)
            written.n_files += 1
        for path in _files(runs.root, own={file.resolve(), temporary.resolve()}):
            try:
                archive.add(path, prefix / path.relative_to(runs.root), recursive=False)
                written.n_files += 1
                written.n_bytes += path.lstat().st_size
            except FileNotFoundError:  # of a running study
                written.gone.append(str(path))
            except OSError as error:
                if error.errno in UNWRITABLE_ERRNOS:
                    raise
                raise UserError(
                    f"'{path}' cannot be read ({error.strerror or error}); make it readable, or "
                    f"remove it"
                ) from None
    return written


def _files(root: Path, *, own: set[Path]) -> Iterator[Path]:
    """All files below `root` that are part of a backup; folders are walked, links are not."""
    for place in sorted(root.iterdir()):
        if place.name in (*LEFT_OUT, *OF_THIS_MACHINE) or place.name.startswith("chorale.db"):
            continue
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            is_part = path.is_symlink() or path.is_file()
            if is_part and not path.name.startswith(".") and path.resolve() not in own:
                yield path
