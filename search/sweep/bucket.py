"""Runs in object storage (`runs: s3://team/chorale`): a local copy that is synchronised both ways.

A sweep works in a folder of its own machine, and `Bucket.synchronising` uploads what changed, so
that another machine can read the study, or resume it when this one is gone. Features are not
uploaded.
"""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chorale.cluster.versions import install_extra_command
from chorale.datasets.atomic import write_json
from chorale.datasets.errors import UserError
from chorale.search.paths import Runs, folder_of, is_bucket
from chorale.search.sweep.bucket_lease import BucketLease, read_lease

EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs"}
"""Protocol -> the extra of Chorale that installs its file system."""

UPLOAD_INTERVAL_S = 30.0
"""How often changes are uploaded while a sweep runs, in seconds."""

SQLITE_SIDE_FILES = ("-wal", "-shm")
"""Endings of the files that SQLite keeps beside a database that was not closed."""

VERSION_KEYS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "size")
"""The keys by which file systems identify a file's version."""


@contextmanager
def synchronised(runs: str, study: str, *, warn: Callable[[str], None]) -> Iterator[None]:
    """Synchronises `study` with the bucket `runs` while the block runs; a plain folder needs none.

    `warn` gets a line where the bucket cannot be reached for a while.

    Raises:
        UserError: it cannot be used, or another machine writes to it.
    """
    if not is_bucket(runs):
        yield
        return
    bucket = Bucket(runs)
    bucket.fetch(study)
    with bucket.synchronising(study, warn=warn):
        yield


def _unexpected(error: Exception) -> str:
    """An error that does not come from the bucket: a bug, or this machine's disk or ledger."""
    detail = " ".join(str(error).split())
    return f"changes were not uploaded to the bucket ({type(error).__name__}: {detail})"


@dataclass
class Bucket:
    """One bucket and this machine's copy of it."""

    url: str
    _files: Any = field(init=False, repr=False)
    _root: str = field(init=False)

    def __post_init__(self) -> None:
        """Opens it.

        Raises:
            UserError: no installed file system handles its protocol, or it cannot be reached.
        """
        import fsspec

        protocol = self.url.split("://")[0]
        try:
            self._files, root = fsspec.core.url_to_fs(self.url.rstrip("/"))
        except ImportError:
            how = (
                f"type: {install_extra_command(EXTRAS[protocol])}"
                if protocol in EXTRAS
                else "see fsspec"
            )
            raise UserError(
                f"'{self.url}': no installed package reads {protocol}://; {how}"
            ) from None
        except ValueError as error:
            raise UserError(f"'{self.url}' cannot be read: {error}") from None
        self._root = str(root).rstrip("/")

    @property
    def copy(self) -> Runs:
        """The copy of it on this machine."""
        return Runs(folder_of(self.url))

    def fetch(self, study: str | None) -> None:
        """Downloads the ledger, and a study's files, where the bucket's are newer.

        Nothing is downloaded while a sweep on this machine writes, or after one that was killed
        here and was the last to write: then the local copy is the newer one.

        Raises:
            UserError: the bucket cannot be read.
        """
        here = read_lease(self.copy.writer)
        if here is not None and (here.lives() or here.is_same(self._lease())):
            return
        known = self._known()
        with self._errors():
            found = self._found("", deep=False)
            if study is not None:
                found |= self._found(study, deep=True)
            for name, stamp in found.items():
                file = self.copy.root / name
                if known.get(name) == stamp and file.is_file():
                    continue
                file.parent.mkdir(parents=True, exist_ok=True)
                arriving = file.with_name(f".{file.name}.arriving")
                self._files.get_file(f"{self._root}/{name}", str(arriving))
                if name == self.copy.ledger.name:
                    for ending in SQLITE_SIDE_FILES:
                        file.with_name(file.name + ending).unlink(missing_ok=True)
                arriving.replace(file)
                known[name] = stamp
        write_json(self.copy.arrived, known)

    @contextmanager
    def synchronising(self, study: str, *, warn: Callable[[str], None]) -> Iterator[None]:
        """Uploads changes while the block runs, and at its end.

        Where the bucket cannot be reached for a while, a warning is printed, the upload is tried
        again, and the sweep goes on.

        Raises:
            UserError: another machine writes there, or, at the end, the bucket cannot be written.
        """
        self._refuse_another()
        stopped = threading.Event()
        sent: dict[str, tuple[int, int]] = {}

        def upload_changes() -> None:
            while not stopped.wait(UPLOAD_INTERVAL_S):
                try:
                    self._upload(study, sent)
                except Exception as error:  # the thread must not die silently
                    line = error if isinstance(error, UserError) else _unexpected(error)
                    warn(f"{line}; it is tried again every {UPLOAD_INTERVAL_S:.0f} s")

        self.copy.writer.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.copy.writer, asdict(BucketLease.mine()))
        self._upload(study, sent)  # a bucket that cannot be written is refused before training
        thread = threading.Thread(target=upload_changes, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
            self._upload(study, sent)
            with self._errors(), contextlib.suppress(FileNotFoundError):
                self._files.rm_file(f"{self._root}/{self.copy.writer.name}")
            self.copy.writer.unlink(missing_ok=True)
            found = self._found("", deep=False) | self._found(study, deep=True)
            write_json(self.copy.arrived, self._known() | found)

    def _upload(self, study: str, sent: dict[str, tuple[int, int]]) -> None:
        """The ledger is copied first and uploaded last: all files that it names are there then."""
        snapshot = self._snapshot()
        root = self.copy.root
        now = {}
        for path in self.copy.study(study).root.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and not path.name.startswith("."):
                    seen = path.stat()
                    now[path.relative_to(root).as_posix()] = (seen.st_mtime_ns, seen.st_size)
        with self._errors():
            for name, stamp in sorted(now.items(), key=lambda item: item[1]):
                if sent.get(name) != stamp:
                    with contextlib.suppress(FileNotFoundError):  # removed since
                        self._send(root / name, name)
                        sent[name] = stamp
            if snapshot is not None:
                self._send(snapshot, self.copy.ledger.name)
                snapshot.unlink()
            for name in sent.keys() - now.keys():
                with contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(f"{self._root}/{name}")
                del sent[name]
            write_json(self.copy.writer, asdict(BucketLease.mine()))
            self._send(self.copy.writer, self.copy.writer.name)

    def _send(self, file: Path, name: str) -> None:
        self._files.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(file), f"{self._root}/{name}")

    def _snapshot(self) -> Path | None:
        """A consistent copy of the ledger, where it is a file."""
        if not self.copy.ledger.is_file():
            return None
        copied = self.copy.ledger.with_name(f".{self.copy.ledger.name}.sent")
        copied.unlink(missing_ok=True)
        with (
            contextlib.closing(sqlite3.connect(self.copy.ledger)) as live,
            contextlib.closing(sqlite3.connect(copied)) as copy,
        ):
            live.backup(copy)
        return copied

    def _refuse_another(self) -> None:
        """Refuses a second machine: two that upload one ledger would lose each other's trials."""
        writer = self._lease()
        if writer is None or not writer.lives() or writer.is_same(BucketLease.mine()):
            return
        raise UserError(
            f"{writer.name} is writing to '{self.url}' (last seen {writer.age_s:.0f} s ago); wait "
            f"for it, or give each its own runs (they may share a ledger nevertheless: "
            f"store: postgresql+psycopg://...)"
        )

    def _lease(self) -> BucketLease | None:
        with self._errors():
            try:
                lease = json.loads(self._files.cat_file(f"{self._root}/{self.copy.writer.name}"))
            except FileNotFoundError:
                return None
            return BucketLease(**lease)

    def _known(self) -> dict[str, str]:
        try:
            known: dict[str, str] = json.loads(self.copy.arrived.read_text())
        except (OSError, ValueError):
            return {}
        return known

    def _found(self, below: str, *, deep: bool) -> dict[str, str]:
        """Name -> stamp of the files in the bucket's folder."""
        folder = f"{self._root}/{below}".rstrip("/")
        try:
            self._files.invalidate_cache()
            found = self._files.find(folder, maxdepth=None if deep else 1, detail=True)
        except FileNotFoundError:
            return {}
        return {
            name.removeprefix(f"{self._root}/"): json.dumps(
                [info.get(key) for key in VERSION_KEYS], default=str
            )
            for name, info in found.items()
            if not name.endswith(f"/{self.copy.writer.name}")
        }

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns an error of the file system into one line.

        Raises:
            UserError: the bucket cannot be reached, read or written.
        """
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # each protocol has errors of its own
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(
                f"the bucket '{self.url}' cannot be used ({lines[0]}); check that it exists and "
                f"that this machine may read and write it; the local copy is '{self.copy.root}'"
            ) from error
