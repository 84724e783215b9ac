"""Lets trials run on nodes that do not see the driver's folders: what they read and write travels.

A `Keeper` on the driver's node reads and writes there. A worker that does not see the folder
fetches what a trial reads once into a cache of its node, and sends what the trial writes back, at
the end and from time to time before. Where a node sees the folder nothing of this happens.
"""

import fcntl
import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from chorale.cluster.base import ClusterError, Decision, Report, TrialSpec, Work

PIECE_BYTES = 32 * 2**20
"""So much of a file travels at once."""

SEND_S = 10.0
"""How often what a trial writes is sent back while it runs."""


class Keeper:
    """An actor on the driver's node that reads and writes files below one folder, for others."""

    def __init__(self, root: str) -> None:
        self._root = Path(root).resolve()

    def sizes(self, folder: str) -> dict[str, int]:
        """The files below a folder, relative to it, and their sizes; none where it is not there."""
        top = self._below(folder)
        return {
            str(path.relative_to(top)): path.stat().st_size
            for path in sorted(top.rglob("*"))
            if path.is_file()
        }

    def read(self, file: str, offset: int) -> bytes:
        """A piece of a file."""
        with self._below(file).open("rb") as opened:
            opened.seek(offset)
            return opened.read(PIECE_BYTES)

    def write(self, file: str, data: bytes) -> None:
        """Puts a whole file in its place at once."""
        path = self._below(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as written:
                written.write(data)
                written.flush()
                os.fsync(written.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)

    def remove(self, file: str) -> None:
        """Takes a file away."""
        self._below(file).unlink(missing_ok=True)

    def _below(self, path: str) -> Path:
        wanted = Path(path).resolve()
        if not wanted.is_relative_to(self._root):
            raise ClusterError(f"'{path}' does not lie in '{self._root}', which trials may use")
        return wanted


@dataclass(frozen=True)
class Shared:
    """A folder of the driver: how a worker knows whether it sees it, and who reads it if not."""

    root: str
    mark: str
    token: str
    keeper: Any = field(repr=False)

    def is_seen(self) -> bool:
        """Whether this process sees the folder: it can read what the driver wrote there."""
        try:
            return (Path(self.root) / self.mark).read_text() == self.token
        except OSError:
            return False


@contextmanager
def shared(root: Path) -> Iterator[Shared]:
    """Offers `root` to the workers of the connected cluster while the block runs."""
    root.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(8)
    mark = root / f".seen-{token}"
    mark.write_text(token)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    keeper = ray.remote(num_cpus=0)(Keeper).options(scheduling_strategy=here).remote(str(root))
    try:
        yield Shared(str(root.absolute()), mark.name, token, keeper)
    finally:
        ray.kill(keeper)
        mark.unlink(missing_ok=True)


def all_nodes_see(folder: Shared) -> bool:
    """Whether every node of the cluster that has a CPU sees the folder."""
    looks = []
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU"):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            look = ray.remote(num_cpus=0)(_is_seen).options(scheduling_strategy=there)
            looks.append(look.remote(folder))
    return all(ray.get(looks))


def _is_seen(folder: Shared) -> bool:
    return folder.is_seen()


@dataclass(frozen=True)
class Carried:
    """`work`, wherever it runs; a `Work` itself. What it reads and writes is `spec.path(...)`."""

    work: Work
    folder: Shared

    def __call__(self, spec: TrialSpec, report: Report) -> Any:
        """Does the work in the driver's folder, or in one of this node with the same files."""
        if self.folder.is_seen():
            return self.work(spec, report)
        moved = {path: str(_fetched(path, self.folder)) for path in spec.reads}
        with tempfile.TemporaryDirectory(prefix="chorale-") as scratch:
            mirrors = [
                _Mirror(path, Path(scratch) / str(i), self.folder.keeper)
                for i, path in enumerate(spec.writes)
            ]
            moved |= {mirror.theirs: str(mirror.ours) for mirror in mirrors}
            sent = time.monotonic()

            def told(step: int, metrics: Mapping[str, float]) -> Decision:
                nonlocal sent
                if time.monotonic() - sent >= SEND_S:
                    _send(mirrors, spec)
                    sent = time.monotonic()
                return report(step, metrics)

            try:
                return self.work(replace(spec, moved=moved), told)
            finally:
                _send(mirrors, spec)


def _send(mirrors: list["_Mirror"], spec: TrialSpec) -> None:
    for mirror in mirrors if spec.group.rank == 0 else ():
        mirror.send()


class _Mirror:
    """A folder of this node, `ours`, and the driver's, `theirs`: begins with what lies there."""

    def __init__(self, theirs: str, ours: Path, keeper: Any) -> None:
        self.theirs, self.ours = theirs, ours
        self._keeper = keeper
        _fetch(theirs, ours, keeper)
        self._sent = self._stamps()

    def send(self) -> None:
        """Sends what is new, the oldest first, as one may name another; then what is gone goes."""
        now = self._stamps()
        for name, stamp in sorted(now.items(), key=lambda item: item[1]):
            if self._sent.get(name) != stamp:
                data = (self.ours / name).read_bytes()
                ray.get(self._keeper.write.remote(f"{self.theirs}/{name}", data))
        for name in self._sent.keys() - now.keys():
            ray.get(self._keeper.remove.remote(f"{self.theirs}/{name}"))
        self._sent = now

    def _stamps(self) -> dict[str, tuple[int, int]]:
        found = {}
        for path in self.ours.rglob("*"):
            if path.is_file():
                seen = path.stat()
                found[str(path.relative_to(self.ours))] = (seen.st_mtime_ns, seen.st_size)
        return found


def _fetched(path: str, folder: Shared) -> Path:
    """A copy of the driver's folder `path` in the cache of this node, made once.

    What lies under one path never changes: the folder's name tells its content.
    """
    cache = _cache()
    key = hashlib.sha256(path.encode()).hexdigest()[:16]
    final = cache / f"{Path(path).name}-{key}"
    with (cache / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the others of this node wait for it
        if not final.is_dir():
            made = Path(tempfile.mkdtemp(dir=cache, prefix=".made-"))
            try:
                if not _fetch(path, made / "copy", folder.keeper):
                    raise ClusterError(f"the driver has nothing in '{path}'; run the sweep again")
                (made / "copy").replace(final)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    return final


def _fetch(theirs: str, ours: Path, keeper: Any) -> int:
    """Copies a folder of the driver's; gives the number of files."""
    ours.mkdir(parents=True)
    sizes: dict[str, int] = ray.get(keeper.sizes.remote(theirs))
    for name, size in sizes.items():
        path = ours / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as copy:
            for offset in range(0, size, PIECE_BYTES):
                copy.write(ray.get(keeper.read.remote(f"{theirs}/{name}", offset)))
    return len(sizes)


def _cache() -> Path:
    """Where copies lie on this node; nobody else may write there."""
    cache = Path(tempfile.gettempdir()) / f"chorale-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    seen = cache.stat(follow_symlinks=False)
    if seen.st_uid != os.getuid() or seen.st_mode & 0o022:
        raise ClusterError(
            f"'{cache}' on this node belongs to somebody else, or others may write to it; "
            f"remove it, or set TMPDIR for the processes that Ray starts"
        )
    return cache
