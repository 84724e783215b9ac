"""An archive of all studies with their ledger, written also while they run."""

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chorale.datasets.atomic import atomic_write
from chorale.datasets.disk import UNWRITABLE_ERRNOS
from chorale.datasets.errors import UserError
from chorale.search.ledger.snapshot import copy_ledger
from chorale.search.paths import Runs

ARCHIVE_MODES = {".tar": "w:", ".tar.gz": "w:gz", ".tgz": "w:gz"}
"""End of the archive's name -> how tarfile writes it."""

LEFT_OUT = ("cache", "synthetic")
"""Folders beside the studies that can be made again."""

OF_THIS_MACHINE = ("writer.json", "arrived.json")
"""Files beside the studies that say what this machine has of a bucket."""


@dataclass
class Backup:
    """What is in the archive so far, and which files were removed while it was written."""

    n_files: int = 0
    n_bytes: int = 0
    gone: list[str] = field(default_factory=list)


def archive_mode(name: str) -> str | None:
    """How tarfile writes an archive of that name; None for names that are none of an archive."""
    return next((mode for end, mode in ARCHIVE_MODES.items() if name.endswith(end)), None)


def write_backup(
    runs: Runs,
    ledger: Path | None,
    file: Path,
    *,
    begun: Callable[[Backup], None] = lambda _: None,
) -> Backup:
    """Writes all studies, champions, nights and the library; what was in `file` stays till the end.

    Args:
        runs: their folder. Caches, the synthetic corpus and hidden files are left out.
        ledger: the SQLite ledger, copied as it is at the start; None for none.
        file: the archive, whose name says whether it is compressed (`ARCHIVE_MODES`).
        begun: gets the counts, which grow while the archive is written.

    Raises:
        UserError: the name is none of an archive, or a file cannot be read.
    """
    mode = archive_mode(file.name)
    if mode is None:
        raise UserError(f"an archive's name ends in {', '.join(ARCHIVE_MODES)}, but got {file}")
    written, prefix = Backup(), Path(runs.root.resolve().name)
    begun(written)
    with (
        atomic_write(file) as temporary,
        tarfile.open(temporary, mode) as archive,  # type: ignore[call-overload]
    ):
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
            is_hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if is_part and not is_hidden and path.resolve() not in own:
                yield path
