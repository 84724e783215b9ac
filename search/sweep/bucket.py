"""A bucket as the folder of all studies: `runs: s3://team/chorale`, worked on in a copy.

Whoever runs a sweep works in a folder of its own machine, and `Bucket.kept` carries what changed to
the bucket, so that another machine can look at the study, or go on with it when this one is gone.
Features stay where the audio is.
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

from chorale.cluster.versions import install_extra
from chorale.datasets.atomic import write_json
from chorale.datasets.errors import UserError
from chorale.search.paths import Runs, folder_of, is_bucket
from chorale.search.sweep.bucket_lease import Writer, read_writer

EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs"}
"""Protocol -> which extra of Chorale brings what speaks it."""

CARRY_S = 30.0
"""How often what changed is carried to the bucket while a sweep runs."""

BESIDE = ("-wal", "-shm")
"""What SQLite keeps beside a ledger that was not closed; it belongs to that very file."""

STAMPS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "size")
"""By what file systems tell whether a file is another than it was."""


@contextmanager
def carried(runs: str, study: str, *, tell: Callable[[str], None]) -> Iterator[None]:
    """While the block runs, what `study` makes is carried to the bucket `runs`, if it is one.

    `tell` hears of a bucket that cannot be reached for a while.

    Raises:
        UserError: it cannot be used, or another machine writes to it.
    """
    if not is_bucket(runs):
        yield
        return
    bucket = Bucket(runs)
    bucket.fetch(study)
    with bucket.kept(study, tell=tell):
        yield


def _unforeseen(error: Exception) -> str:
    """An error that no bucket is known for: a bug, or this machine's disk or ledger."""
    said = " ".join(str(error).split())
    return f"what changed was not carried to the bucket ({type(error).__name__}: {said})"


@dataclass
class Bucket:
    """One bucket and this machine's copy of it."""

    url: str
    _files: Any = field(init=False, repr=False)
    _root: str = field(init=False)

    def __post_init__(self) -> None:
        """Opens it.

        Raises:
            UserError: nothing here speaks its protocol, or it cannot be reached.
        """
        import fsspec

        protocol = self.url.split("://")[0]
        try:
            self._files, root = fsspec.core.url_to_fs(self.url.rstrip("/"))
        except ImportError:
            how = f"type: {install_extra(EXTRAS[protocol])}" if protocol in EXTRAS else "see fsspec"
            raise UserError(f"'{self.url}': nothing here reads {protocol}://; {how}") from None
        except ValueError as error:
            raise UserError(f"'{self.url}' is no place that can be read: {error}") from None
        self._root = str(root).rstrip("/")

    @property
    def copy(self) -> Runs:
        """What this machine has of it."""
        return Runs(folder_of(self.url))

    def fetch(self, study: str | None) -> None:
        """Brings the ledger, and a study's files, to this machine where they are newer there.

        What a sweep on this machine is writing just now is left as it is, and so is what one that
        was killed wrote last: nobody has written since, and the bucket lacks its end.

        Raises:
            UserError: the bucket cannot be read.
        """
        here = read_writer(self.copy.writer)
        if here is not None and (here.lives() or here.is_same(self._writer())):
            return
        known = self._known()
        with self._told():
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
                    for ending in BESIDE:
                        file.with_name(file.name + ending).unlink(missing_ok=True)
                arriving.replace(file)
                known[name] = stamp
        write_json(self.copy.arrived, known)

    @contextmanager
    def kept(self, study: str, *, tell: Callable[[str], None]) -> Iterator[None]:
        """While the block runs, and at its end, what changes here is carried to the bucket.

        A bucket that cannot be reached for a while is told and tried again; the search goes on.

        Raises:
            UserError: another machine writes there, or, at the end, the bucket cannot be written.
        """
        self._refuse_another()
        over = threading.Event()
        sent: dict[str, tuple[int, int]] = {}

        def carry() -> None:
            while not over.wait(CARRY_S):
                try:
                    self._carry(study, sent)
                except Exception as error:  # a thread that dies tells nobody
                    said = error if isinstance(error, UserError) else _unforeseen(error)
                    tell(f"{said}; it is tried again every {CARRY_S:.0f} s")

        self.copy.writer.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.copy.writer, asdict(Writer.me()))
        self._carry(study, sent)  # a bucket that cannot be written is told before anything trains
        thread = threading.Thread(target=carry, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self._carry(study, sent)
            with self._told(), contextlib.suppress(FileNotFoundError):
                self._files.rm_file(f"{self._root}/{self.copy.writer.name}")
            self.copy.writer.unlink(missing_ok=True)
            found = self._found("", deep=False) | self._found(study, deep=True)
            write_json(self.copy.arrived, self._known() | found)

    def _carry(self, study: str, sent: dict[str, tuple[int, int]]) -> None:
        """The ledger is copied first and sent last: whatever it says is done is there by then."""
        snapshot = self._snapshot()
        root = self.copy.root
        now = {}
        for path in self.copy.study(study).root.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and not path.name.startswith("."):
                    seen = path.stat()
                    now[path.relative_to(root).as_posix()] = (seen.st_mtime_ns, seen.st_size)
        with self._told():
            for name, stamp in sorted(now.items(), key=lambda item: item[1]):
                if sent.get(name) != stamp:
                    with contextlib.suppress(FileNotFoundError):  # gone since
                        self._send(root / name, name)
                        sent[name] = stamp
            if snapshot is not None:
                self._send(snapshot, self.copy.ledger.name)
                snapshot.unlink()
            for name in sent.keys() - now.keys():
                with contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(f"{self._root}/{name}")
                del sent[name]
            write_json(self.copy.writer, asdict(Writer.me()))
            self._send(self.copy.writer, self.copy.writer.name)

    def _send(self, file: Path, name: str) -> None:
        self._files.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(file), f"{self._root}/{name}")

    def _snapshot(self) -> Path | None:
        """A whole copy of the ledger, where it is a file."""
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
        """Two machines that write one ledger file would lose each other's trials."""
        writer = self._writer()
        if writer is None or not writer.lives() or writer.is_same(Writer.me()):
            return
        raise UserError(
            f"{writer.name} is writing to '{self.url}' (last seen {writer.age_s:.0f} s ago); wait "
            f"for it, or give each its own runs (they may share a ledger nevertheless: "
            f"store: postgresql+psycopg://...)"
        )

    def _writer(self) -> Writer | None:
        with self._told():
            try:
                said = json.loads(self._files.cat_file(f"{self._root}/{self.copy.writer.name}"))
            except FileNotFoundError:
                return None
            return Writer(**said)

    def _known(self) -> dict[str, str]:
        try:
            known: dict[str, str] = json.loads(self.copy.arrived.read_text())
        except (OSError, ValueError):
            return {}
        return known

    def _found(self, below: str, *, deep: bool) -> dict[str, str]:
        """Name -> stamp of the files in the bucket's folder."""
        place = f"{self._root}/{below}".rstrip("/")
        try:
            self._files.invalidate_cache()
            found = self._files.find(place, maxdepth=None if deep else 1, detail=True)
        except FileNotFoundError:
            return {}
        return {
            name.removeprefix(f"{self._root}/"): json.dumps(
                [info.get(key) for key in STAMPS], default=str
            )
            for name, info in found.items()
            if not name.endswith(f"/{self.copy.writer.name}")
        }

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What a file system raises, in a line.

        Raises:
            UserError: the bucket cannot be reached, read or written.
        """
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # each protocol has errors of its own
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(
                f"the bucket '{self.url}' cannot be used ({said[0]}); see that it exists and that "
                f"this machine may read and write it; what was made is in '{self.copy.root}'"
            ) from error
