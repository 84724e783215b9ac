"""Dataset download: fetches a catalog dataset from its publisher, verifies and unpacks it.

The resulting folder is the `root` that a dataset file reads; `chorale data fetch` calls it.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from chorale.datasets.base import DatasetInfo, Download
from chorale.datasets.download.archive_members import DEFAULT_LIMITS, ArchiveError, ArchiveLimits
from chorale.datasets.download.download import (
    DEFAULT_RETRY_POLICY,
    ChecksumError,
    DownloadListener,
    RetryPolicy,
    download,
    verify_checksum,
)
from chorale.datasets.download.unpack import unpack_archive
from chorale.datasets.download.web import WebError
from chorale.datasets.errors import UserError, unknown_name_error


def fetch_dataset(
    info: DatasetInfo,
    root: Path,
    *,
    parts: Sequence[str] = (),
    listener: DownloadListener,
    retry_policy: RetryPolicy = DEFAULT_RETRY_POLICY,
    limits: ArchiveLimits = DEFAULT_LIMITS,
) -> None:
    """Downloads the dataset's files to the folder `root`, which is made where it is missing.

    Existing files and folders are left alone. The next call resumes one that was interrupted. An
    archive that is in `root` under its name is used instead of a download, and kept; one that is
    downloaded here is removed after unpacking.

    Args:
        info: the dataset.
        root: the target folder.
        parts: which of the dataset's parts; where empty, its first.
        listener: receives messages and progress.
        retry_policy: how often and how long to try.
        limits: limits of unpacking an archive.

    Raises:
        UserError: the dataset has no downloads; the download failed; there is no such part; a file
            is not the published one, is malicious, or does not fit on the disk.
    """
    wanted = select_downloads(info, parts)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root):
            for one in wanted:
                _get(one, info, root, listener=listener, retry_policy=retry_policy, limits=limits)
    except OSError as error:
        raise UserError(
            f"dataset '{info.name}': '{error.filename or root}' cannot be written "
            f"({error.strerror or error}); free disk space or fix its permissions and type the "
            f"same again, which resumes from there; or give another folder with --root"
        ) from None


def select_downloads(info: DatasetInfo, parts: Sequence[str]) -> list[Download]:
    """The downloads of the named parts, and those that belong to every part.

    Raises:
        UserError: the dataset has no downloads, or no such part.
    """
    if not info.downloads:
        raise UserError(
            f"dataset '{info.name}' has nothing to download: {manual_instructions(info)}"
        )
    known = part_names(info)
    for part in parts:
        if not known:
            raise UserError(
                f"dataset '{info.name}' has no parts, but got --part {part}; leave --part out"
            )
        if part not in known:
            raise unknown_name_error(f"part of dataset '{info.name}'", part, known)
    names = {*(parts or known[:1]), ""}
    return [one for one in info.downloads if one.part in names]


def manual_instructions(info: DatasetInfo) -> str:
    """How to get a dataset that has no automatic download."""
    if info.how_to_get or not info.homepage.startswith("http"):
        return info.how_to_get or info.homepage
    return f"get it by hand, see {info.homepage}"


def part_names(info: DatasetInfo) -> list[str]:
    """The parts to choose from, the default one first."""
    return list(dict.fromkeys(one.part for one in info.downloads if one.part))


def _get(
    one: Download,
    info: DatasetInfo,
    root: Path,
    *,
    listener: DownloadListener,
    retry_policy: RetryPolicy,
    limits: ArchiveLimits,
) -> None:
    """One file, and the folder that it unpacks to."""
    file, folder = root / one.file_name, root / one.unpack_to
    final = folder if one.unpack_to else file
    if one.unpack_to and folder.is_dir() and any(folder.iterdir()):
        listener.message(f"'{final}' exists already; nothing to do")
        return
    checksum = info.checksums.get(one.file_name, "")
    ours = not file.exists()
    fix = f"see {info.homepage}"
    try:
        if ours:
            listener.message(f"{one.file_name}: downloading from {one.url}")
            download(
                one.url,
                file,
                checksum=checksum,
                copies=2 if one.unpack_to else 1,
                listener=listener,
                retry_policy=retry_policy,
            )
        else:
            listener.message(f"'{file}' exists already: it is used, and kept")
            fix = f"remove '{file}' and type the same again to download it"
            verify_checksum(
                file, checksum, name=one.file_name, listener=listener, wrong=lambda: None
            )
        if one.unpack_to:
            progress = partial(listener.progress, f"unpacking {one.file_name}")
            n = unpack_archive(file, folder, inside=one.inside, limits=limits, progress=progress)
            listener.message(f"'{final}' has {n} files")
    except ChecksumError as error:
        what = "it has been removed; type the same again" if ours else fix
        raise _failed(info, one, f"{error}; {what}") from None
    except WebError as error:
        raise _failed(
            info,
            one,
            f"{error}; type the same again later, which resumes the download, {fix}, or get "
            f"the file in another way and put it at '{file}'",
        ) from None
    except ArchiveError as error:
        what = ""
        if ours and checksum:
            # it is the published file, and its download may have taken hours
            what = f"it is kept as '{file}'; look at it, or unpack it yourself to '{final}'; "
        elif ours:
            file.unlink()
            what = "it has been removed; "
        raise _failed(info, one, f"it is refused: {error}; {what}{fix}") from None
    if ours and one.unpack_to:
        file.unlink()


def _failed(info: DatasetInfo, one: Download, text: str) -> UserError:
    return UserError(f"dataset '{info.name}': {one.file_name} from {one.url}: {text}")


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Locks the folder, so that no second process works in it at the same time."""
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another 'chorale data fetch' is running in '{root}'; wait for it, or give "
                f"another folder with --root"
            ) from None
        except OSError:
            # some network disks cannot lock folders; two processes are then not prevented
            pass
        yield
    finally:
        os.close(handle)
