"""The file of `EncoderInfo.web_file`: downloaded from its address, or given by the user.

`datasets.pretrained.fetching` converts and publishes it.
"""

import shutil
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from chorale.datasets.base import EncoderInfo, WebFile
from chorale.datasets.disk import format_size
from chorale.datasets.download.download import (
    ChecksumError,
    DownloadListener,
    RetryPolicy,
    download,
    verify_checksum,
)
from chorale.datasets.download.web import WebError
from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.installed import fetch_command

DOWNLOAD_FOLDER = "download"
"""The folder in an encoder's folder from which an interrupted download is resumed."""


def web_file_name(web_file: WebFile) -> str:
    """The name of the file at the address: the end of its path."""
    return PurePosixPath(unquote(urlsplit(web_file.url).path)).name


def fetch_from_web(
    info: EncoderInfo,
    web_file: WebFile,
    target: Path,
    *,
    folder: Path,
    progress: DownloadListener,
    retry_policy: RetryPolicy,
) -> None:
    """Downloads the file to `target`.

    Args:
        info: the encoder.
        web_file: its file.
        target: a file that does not exist yet, on the file system of `folder`.
        folder: the encoder's, in which an interrupted download is kept.
        progress: receives messages and bytes.
        retry_policy: how often and how long to try.

    Raises:
        UserError: the download failed, or the file is another one.
    """
    kept = folder / DOWNLOAD_FOLDER
    kept.mkdir(parents=True, exist_ok=True)
    complete = kept / web_file_name(web_file)
    complete.unlink(missing_ok=True)
    progress.message(f"downloading {web_file.url}")
    try:
        download(
            web_file.url,
            complete,
            checksum=web_file.checksum,
            copies=2,
            listener=progress,
            retry_policy=retry_policy,
            max_bytes=web_file.max_bytes,
        )
        complete.replace(target)
    except ChecksumError as error:
        raise _failed(info, web_file, f"{error}; nothing of it is kept") from None
    except WebError as error:
        raise _failed(info, web_file, str(error)) from None
    finally:
        with suppress(OSError):  # unless an interrupted download is in it
            kept.rmdir()


def copy_given(info: EncoderInfo, file: Path, target: Path, *, progress: DownloadListener) -> None:
    """Copies a file that the user has downloaded to `target`.

    Raises:
        UserError: its checksum is not the published one, or it is too large.
    """
    web_file = info.web_file
    where = f"get {web_file.url}" if web_file else info.how_to_get
    fix = f"{where}, and type: {fetch_command(info)} --file FILE"
    if web_file is not None and file.stat().st_size > web_file.max_bytes:
        size = format_size(web_file.max_bytes)
        raise UserError(f"encoder '{info.name}': '{file}' is larger than {size}; {fix}")
    shutil.copyfile(file, target)
    checksum = web_file.checksum if web_file else ""
    try:
        verify_checksum(target, checksum, name=file.name, listener=progress, wrong=lambda: None)
    except ChecksumError as error:
        raise UserError(
            f"encoder '{info.name}': '{file}' is another file than the one meant: {error}; {fix}"
        ) from None


def _failed(info: EncoderInfo, web_file: WebFile, problem: str) -> UserError:
    return UserError(
        f"encoder '{info.name}': {web_file.url}: {problem}; type the same again, which resumes a "
        f"download, or get the file in another way and type: {fetch_command(info)} --file FILE"
    )
