"""Gets a dataset of the catalog from where it is published: downloads, verifies, unpacks.

The folder that it makes is what a dataset file reads as `root`; `chorale data fetch` calls it.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from chorale.datasets.base import DatasetInfo, Download
from chorale.datasets.download.archive_members import ORDINARY, ArchiveError, Limits
from chorale.datasets.download.download import (
    PATIENT,
    ChecksumError,
    Listener,
    Patience,
    download,
    verify,
)
from chorale.datasets.download.unpack import unpack
from chorale.datasets.download.web import WebError
from chorale.datasets.errors import UserError, unknown


def fetch(
    info: DatasetInfo,
    root: Path,
    *,
    parts: Sequence[str] = (),
    listener: Listener,
    patience: Patience = PATIENT,
    limits: Limits = ORDINARY,
) -> None:
    """Puts the dataset's files into the folder `root`, which is made where it is missing.

    What is there already is left alone. A call that was interrupted is gone on with by the next.
    An archive that lies in `root` under its name is taken instead of a download, and kept; one
    that is downloaded here is removed when it is unpacked.

    Args:
        info: what to get.
        root: where to put it.
        parts: which of the dataset's parts; where empty, its first.
        listener: is told of what happens.
        patience: how often and how long to try.
        limits: what an archive may unpack to.

    Raises:
        UserError: the dataset cannot be downloaded by anybody, or not now; there is no such part;
            a file is not the published one, is hostile, or does not fit on the disk.
    """
    wanted = chosen(info, parts)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root):
            for one in wanted:
                _get(one, info, root, listener=listener, patience=patience, limits=limits)
    except OSError as error:
        raise UserError(
            f"dataset '{info.name}': '{error.filename or root}' cannot be written "
            f"({error.strerror or error}); make room or mend its permissions and type the same "
            f"again, which goes on from there; or give another folder with --root"
        ) from None


def chosen(info: DatasetInfo, parts: Sequence[str]) -> list[Download]:
    """The downloads of the named parts, and those that belong to every part.

    Raises:
        UserError: the dataset has no downloads, or no such part.
    """
    if not info.downloads:
        raise UserError(f"dataset '{info.name}' has nothing to download: {by_hand(info)}")
    known = part_names(info)
    for part in parts:
        if not known:
            raise UserError(f"dataset '{info.name}' has no parts, but got --part {part}; leave it")
        if part not in known:
            raise unknown(f"part of dataset '{info.name}'", part, known)
    names = {*(parts or known[:1]), ""}
    return [one for one in info.downloads if one.part in names]


def by_hand(info: DatasetInfo) -> str:
    """What to do for a dataset that no program may download."""
    if info.how_to_get or not info.homepage.startswith("http"):
        return info.how_to_get or info.homepage
    return f"get it by hand, see {info.homepage}"


def part_names(info: DatasetInfo) -> list[str]:
    """The parts that a person can choose from, the one that is taken by itself first."""
    return list(dict.fromkeys(one.part for one in info.downloads if one.part))


def _get(
    one: Download,
    info: DatasetInfo,
    root: Path,
    *,
    listener: Listener,
    patience: Patience,
    limits: Limits,
) -> None:
    """One file, and the folder that it unpacks to."""
    file, folder = root / one.file_name, root / one.unpack_to
    final = folder if one.unpack_to else file
    if one.unpack_to and folder.is_dir() and any(folder.iterdir()):
        listener.say(f"'{final}' is there already; nothing to do")
        return
    checksum = info.checksums.get(one.file_name, "")
    ours = not file.exists()
    mend = f"see {info.homepage}"
    try:
        if ours:
            listener.say(f"{one.file_name}: getting it from {one.url}")
            download(
                one.url,
                file,
                checksum=checksum,
                copies=2 if one.unpack_to else 1,
                listener=listener,
                patience=patience,
            )
        else:
            listener.say(f"'{file}' is there already: it is used, and kept")
            mend = f"remove '{file}' and type the same again to download it"
            verify(file, checksum, name=one.file_name, listener=listener, wrong=lambda: None)
        if one.unpack_to:
            progress = partial(listener.progress, f"unpacking {one.file_name}")
            n = unpack(file, folder, inside=one.inside, limits=limits, progress=progress)
            listener.say(f"'{final}' has {n} files")
    except ChecksumError as error:
        what = "it has been removed; type the same again" if ours else mend
        raise _failed(info, one, f"{error}; {what}") from None
    except WebError as error:
        raise _failed(
            info,
            one,
            f"{error}; type the same again later, which goes on from what is there, {mend}, or get "
            f"the file in another way and put it at '{file}'",
        ) from None
    except ArchiveError as error:
        what = ""
        if ours and checksum:
            # it is what was published, and may have taken hours
            what = f"it is kept as '{file}'; look at it, or unpack it yourself to '{final}'; "
        elif ours:
            file.unlink()
            what = "it has been removed; "
        raise _failed(info, one, f"it is refused: {error}; {what}{mend}") from None
    if ours and one.unpack_to:
        file.unlink()


def _failed(info: DatasetInfo, one: Download, text: str) -> UserError:
    return UserError(f"dataset '{info.name}': {one.file_name} from {one.url}: {text}")


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """No second process works in the same folder at the same time."""
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another 'chorale data fetch' is at work in '{root}'; wait for it, or give "
                f"another folder with --root"
            ) from None
        except OSError:
            # some network disks cannot lock folders; two at once then disturb each other
            pass
        yield
    finally:
        os.close(handle)
