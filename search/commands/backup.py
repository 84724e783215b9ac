"""`chorale backup FILE`: all studies with their ledger, in one archive."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.search.commands.command import command, require
from chorale.search.commands.console import console, progress_console
from chorale.search.commands.output_file import require_writable
from chorale.search.commands.parameters import FILE
from chorale.search.commands.study_options import StudyOptions, ledger_options

if TYPE_CHECKING:
    from chorale.search.api.backup import Backup


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
    from chorale.search.api.backup import ARCHIVE_MODES, archive_mode

    require(
        archive_mode(file.name), f"FILE should end in {', '.join(ARCHIVE_MODES)}, but got {file}"
    )
    given.refuse_bucket("backed up")
    given.open().close()
    runs, file = given.runs, require_writable(file, option="chorale backup")
    ledger = _ledger_file(given)
    written = _write(given, ledger, file)
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


def _ledger_file(given: StudyOptions) -> Path | None:
    """The ledger's file; None where it is in PostgreSQL."""
    from sqlalchemy import make_url

    url = make_url(given.store or given.runs.ledger_url)
    return Path(url.database) if url.drivername.startswith("sqlite") and url.database else None


def _write(given: StudyOptions, ledger: Path | None, file: Path) -> "Backup":
    """Writes the archive, and prints now and then how far it is."""
    from chorale.search.api.backup import Backup, write_backup
    from chorale.search.console.ticker import StatusTicker

    out, began, counts = progress_console(), time.perf_counter(), [Backup()]

    def show() -> None:
        took_s, now = time.perf_counter() - began, counts[-1]
        out.print(f"  {now.n_files:,} files, {now.n_bytes / 1e9:.2f} GB, {took_s:.0f} s")

    with StatusTicker.of(out) as ticker, ticker.printing(show):
        return write_backup(given.runs, ledger, file, begun=counts.append)
