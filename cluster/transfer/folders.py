"""File transfer for nodes that do not share the driver's file system.

A `FolderServer` on the driver's node reads and writes there. A worker that does not see the
driver's folder downloads a trial's input folders once into a cache of its node, and uploads the
trial's output folders at intervals and at the end. A node that sees the folder transfers nothing.
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

CHUNK_BYTES = 32 * 2**20
"""Files are read in chunks of this size."""

OUTPUT_UPLOAD_INTERVAL_S = 10.0
"""Interval of uploads of a running trial's output folders."""


class FolderServer:
    """An actor on the driver's node that reads and writes files below one folder for workers."""

    def __init__(self, root: str) -> None:
        self._root = Path(root).resolve()

    def sizes(self, folder: str) -> dict[str, int]:
        """The files below a folder, relative to it, with sizes; empty if it does not exist."""
        top = self._below(folder)
        return {
            str(path.relative_to(top)): path.stat().st_size
            for path in sorted(top.rglob("*"))
            if path.is_file()
        }

    def read(self, file: str, offset: int) -> bytes:
        """The chunk of a file that begins at `offset`."""
        with self._below(file).open("rb") as opened:
            opened.seek(offset)
            return opened.read(CHUNK_BYTES)

    def write(self, file: str, data: bytes) -> None:
        """Replaces a file atomically."""
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
        """Removes a file."""
        self._below(file).unlink(missing_ok=True)

    def _below(self, path: str) -> Path:
        wanted = Path(path).resolve()
        if not wanted.is_relative_to(self._root):
            raise ClusterError(f"'{path}' is not in '{self._root}', the only folder for trials")
        return wanted


@dataclass(frozen=True)
class SharedFolder:
    """A folder of the driver, with a marker file to detect whether a worker sees it.

    `server` is the actor that serves it to workers that do not.
    """

    root: str
    marker: str
    token: str
    server: Any = field(repr=False)

    def is_visible(self) -> bool:
        """Whether this process sees the folder: it can read the driver's marker file."""
        try:
            return (Path(self.root) / self.marker).read_text() == self.token
        except OSError:
            return False


@contextmanager
def share_folder(root: Path) -> Iterator[SharedFolder]:
    """Serves `root` to the workers of the connected cluster while the block runs."""
    root.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(8)
    marker = root / f".seen-{token}"
    marker.write_text(token)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    server = (
        ray.remote(num_cpus=0)(FolderServer).options(scheduling_strategy=here).remote(str(root))
    )
    try:
        yield SharedFolder(str(root.absolute()), marker.name, token, server)
    finally:
        ray.kill(server)
        marker.unlink(missing_ok=True)


def all_nodes_see_folder(folder: SharedFolder) -> bool:
    """Whether every alive node with a CPU sees the folder."""
    references = []
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU"):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = ray.remote(num_cpus=0)(_is_visible).options(scheduling_strategy=there)
            references.append(task.remote(folder))
    return all(ray.get(references))


def _is_visible(folder: SharedFolder) -> bool:
    return folder.is_visible()


@dataclass(frozen=True)
class TransferredWork:
    """`Work` that runs `work` on any node, with local copies of the driver's folders if needed.

    `work` gets the paths from `spec.local_path(...)`.
    """

    work: Work
    folder: SharedFolder

    def __call__(self, spec: TrialSpec, report: Report) -> Any:
        """Runs `work` in the driver's folder, or in a folder of this node with the same files."""
        if self.folder.is_visible():
            return self.work(spec, report)
        local_paths = {path: str(_cached_copy(path, self.folder)) for path in spec.input_folders}
        with tempfile.TemporaryDirectory(prefix="chorale-") as scratch:
            mirrors = [
                _Mirror(path, Path(scratch) / str(i), self.folder.server)
                for i, path in enumerate(spec.output_folders)
            ]
            local_paths |= {mirror.remote: str(mirror.local) for mirror in mirrors}
            uploaded_s = time.monotonic()

            def report_and_upload(step: int, metrics: Mapping[str, float]) -> Decision:
                nonlocal uploaded_s
                if time.monotonic() - uploaded_s >= OUTPUT_UPLOAD_INTERVAL_S:
                    _upload(mirrors, spec)
                    uploaded_s = time.monotonic()
                return report(step, metrics)

            try:
                return self.work(replace(spec, local_paths=local_paths), report_and_upload)
            finally:
                _upload(mirrors, spec)


def _upload(mirrors: list["_Mirror"], spec: TrialSpec) -> None:
    for mirror in mirrors if spec.process_group.rank == 0 else ():
        mirror.upload()


class _Mirror:
    """A folder of this node, `local`, that mirrors the driver's, `remote`; starts as its copy."""

    def __init__(self, remote: str, local: Path, server: Any) -> None:
        self.remote, self.local = remote, local
        self._server = server
        _download(remote, local, server)
        self._uploaded = self._stamps()

    def upload(self) -> None:
        """Uploads changed files, the oldest first, since a newer one may refer to an older one.

        After that it removes deleted files.
        """
        now = self._stamps()
        for name, stamp in sorted(now.items(), key=lambda item: item[1]):
            if self._uploaded.get(name) != stamp:
                data = (self.local / name).read_bytes()
                ray.get(self._server.write.remote(f"{self.remote}/{name}", data))
        for name in self._uploaded.keys() - now.keys():
            ray.get(self._server.remove.remote(f"{self.remote}/{name}"))
        self._uploaded = now

    def _stamps(self) -> dict[str, tuple[int, int]]:
        """Modification time in ns and size of each file."""
        stamps = {}
        for path in self.local.rglob("*"):
            if path.is_file():
                status = path.stat()
                stamps[str(path.relative_to(self.local))] = (status.st_mtime_ns, status.st_size)
        return stamps


def _cached_copy(path: str, folder: SharedFolder) -> Path:
    """A copy of the driver's folder `path` in the cache of this node, made once.

    The content under a path never changes: an input folder's name is a key of its content.
    """
    cache = _cache()
    key = hashlib.sha256(path.encode()).hexdigest()[:16]
    final = cache / f"{Path(path).name}-{key}"
    with (cache / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers of this node wait for the copy
        if not final.is_dir():
            scratch = Path(tempfile.mkdtemp(dir=cache, prefix=".made-"))
            try:
                if not _download(path, scratch / "copy", folder.server):
                    raise ClusterError(f"the driver has no files in '{path}'; run the sweep again")
                (scratch / "copy").replace(final)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return final


def _download(remote: str, local: Path, server: Any) -> int:
    """Copies a folder of the driver; returns the number of files."""
    local.mkdir(parents=True)
    sizes: dict[str, int] = ray.get(server.sizes.remote(remote))
    for name, size in sizes.items():
        path = local / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as copy:
            for offset in range(0, size, CHUNK_BYTES):
                copy.write(ray.get(server.read.remote(f"{remote}/{name}", offset)))
    return len(sizes)


def _cache() -> Path:
    """The folder for copies on this node, which no other user can write to."""
    cache = Path(tempfile.gettempdir()) / f"chorale-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    status = cache.stat(follow_symlinks=False)
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise ClusterError(
            f"'{cache}' on this node belongs to another user, or other users can write to it; "
            f"remove it, or set TMPDIR for the processes that Ray starts"
        )
    return cache
