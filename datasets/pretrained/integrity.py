"""Whether an encoder's file is the one that was meant, and whether its packages are here.

Nothing here imports a heavy library.
"""

import json
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from chorale.datasets.base import EncoderInfo
from chorale.datasets.content import file_sha256
from chorale.datasets.pretrained.added import RECORD_NAME, read_record

FETCHED_NAME = "fetched.json"
"""The file in the folder of a fetched encoder with the checksums of what was fetched."""


def checksum_problem(info: EncoderInfo, folder: Path) -> str:
    """What is wrong with the file of an encoder in its `folder`, as one line; empty if nothing is.

    A fetched file must be the one whose checksum was recorded when it was made from `info.weights`
    or `info.web_file`; that of an added one is in its `encoder.json`. Of one that a user put there
    there is nothing to compare with.

    Raises:
        UserError: the `encoder.json` of an added one is damaged.
    """
    file = folder / info.file_name
    if not file.is_file():
        return f"'{file}' is missing"
    if (folder / RECORD_NAME).is_file():
        files = {info.file_name: read_record(folder).sha256}
    elif not info.weights and not (folder / FETCHED_NAME).is_file():
        return ""
    else:
        try:
            record = json.loads((folder / FETCHED_NAME).read_bytes())
            made_from, files = record["weights"], dict(record["files"])
            files[info.file_name]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return f"'{folder / FETCHED_NAME}', which has its checksum, is missing or damaged"
        if made_from != [f.sha256 for f in info.weights]:
            return f"'{file}' is of another release than the one that Chorale uses now"
    for name, wanted in files.items():
        got = file_sha256(folder / name) if (folder / name).is_file() else "missing"
        if got != wanted:
            return f"the SHA-256 of '{folder / name}' is {got}, but {wanted} is wanted"
    return ""


def missing_packages(info: EncoderInfo) -> list[str]:
    """The distributions of `info.requires` that are not installed, as they are written there."""
    return [wanted for wanted in info.requires if not _is_installed(wanted)]


def _is_installed(wanted: str) -> bool:
    try:
        version(re.split(r"[^A-Za-z0-9._-]", wanted, maxsplit=1)[0])
    except PackageNotFoundError:
        return False
    return True
