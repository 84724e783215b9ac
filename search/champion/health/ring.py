"""Ring file: the label-free statistics of a server's latest answers, without audio or names.

Each server process writes a file of its own, of at most `CAPACITY` records, and then overwrites the
oldest. A record holds the time to the second, confidence, disagreement, similarity to the training
tracks and the out-of-distribution flag. It has a sequence number and a checksum: whichever byte was
the last that a killed process wrote, a reader leaves out the record that is not whole. Records are
not synced one by one, so a power failure may lose the last seconds.
"""

import fcntl
import os
import secrets
import struct
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.atomic import atomic_write
from chorale.datasets.errors import UserError
from chorale.search.statistics.arrays import Floats

CAPACITY = 50_000
"""Records of one file: 1.8 MB."""

MAX_RINGS = 32
"""Files of ended servers that are kept, the latest ones: with `CAPACITY`, 58 MB."""

SUFFIX = ".ring"
FORMAT_VERSION = 1

_MAGIC = b"CHORALER"
_HEADER = struct.Struct("<8sHHI32sI")  # magic, version, record size, capacity, bundle, checksum
_RECORD = struct.Struct("<QdfffHHI")  # sequence from 1, then `Answer`, flags, 0, checksum
_CHECKED = _RECORD.size - 4
_OUT_OF_DISTRIBUTION = 1

_FIELDS = np.dtype(
    [
        ("sequence", "<u8"), ("time_s", "<f8"), ("confidence", "<f4"), ("disagreement", "<f4"),
        ("similarity_margin", "<f4"), ("flags", "<u2"), ("unused", "<u2"), ("checksum", "<u4"),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What is kept of one answer.

    `time_s` is UTC, in seconds since 1970; `confidence` the calibrated probability of the predicted
    class; `disagreement` the members' in nats; `similarity_margin` by how much the recording is
    more similar to the training tracks than required, NaN for bundles that do not measure it.
    """

    time_s: float
    confidence: float
    disagreement: float
    similarity_margin: float
    out_of_distribution: bool

    @property
    def credit(self) -> float:
        """See `Answers.credit`."""
        return 0.0 if self.out_of_distribution else self.confidence


@dataclass(frozen=True)
class Answers:
    """Several answers as records (n,), oldest first; each field of `Answer` as an array (n,)."""

    records: NDArray[np.void]

    def __len__(self) -> int:
        return len(self.records)

    @classmethod
    def of(cls, each: Iterable[Answer]) -> "Answers":
        """Answers in memory, oldest first."""
        rows = [
            (0, one.time_s, one.confidence, one.disagreement, one.similarity_margin,
             int(one.out_of_distribution), 0, 0)
            for one in each
        ]  # fmt: skip
        return cls(np.array(rows, _FIELDS))

    @property
    def time_s(self) -> Floats:
        """UTC, seconds since 1970."""
        return self._numbers("time_s")

    @property
    def confidence(self) -> Floats:
        """0 to 1."""
        return self._numbers("confidence")

    @property
    def credit(self) -> Floats:
        """Confidence, and 0 where the answer is flagged as out of distribution."""
        return np.where(self.out_of_distribution, 0.0, self.confidence)

    @property
    def disagreement(self) -> Floats:
        """In nats."""
        return self._numbers("disagreement")

    @property
    def similarity_margin(self) -> Floats:
        """NaN where it was not measured."""
        return self._numbers("similarity_margin")

    @property
    def out_of_distribution(self) -> NDArray[np.bool_]:
        """The flag of each."""
        return np.asarray(self.records["flags"] & _OUT_OF_DISTRIBUTION, np.bool_)

    def latest(self, n: int) -> "Answers":
        """The last `n`, or all where there are fewer."""
        return Answers(self.records[-n:])

    def _numbers(self, name: str) -> Floats:
        return np.asarray(self.records[name], np.float64)


class RingWriter:
    """Appends answers to a new ring file of this process. Not for several threads at once."""

    def __init__(self, folder: Path, digest: str, *, capacity: int = CAPACITY) -> None:
        """Makes the file, and removes the oldest files of ended servers beyond `MAX_RINGS`.

        Args:
            folder: for the files of all servers; made where it is missing.
            digest: of the served bundle, SHA-256 as hexadecimal digits.
            capacity: records that the file holds.

        Raises:
            UserError: the folder cannot be written to.
        """
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}{SUFFIX}"  # in the order of time
        self.path = folder / name
        self._capacity, self._n = capacity, 0
        fixed = _HEADER.pack(
            _MAGIC, FORMAT_VERSION, _RECORD.size, capacity, bytes.fromhex(digest), 0
        )
        header = fixed[:-4] + struct.pack("<I", zlib.crc32(fixed[:-4]))
        try:
            _remove_old(folder)
            with atomic_write(self.path) as temporary:
                temporary.write_bytes(header)
            self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(self._file, fcntl.LOCK_EX)  # shows other servers that it is in use
        except OSError as error:
            raise UserError(
                f"the health folder '{folder}' cannot be written to ({error.strerror}); make it "
                f"writable, or give another one with --health-dir FOLDER"
            ) from None

    def append(self, answer: Answer) -> None:
        """Writes one answer, over the oldest where the file is full.

        Raises:
            OSError: it cannot be written, as on a full disk.
        """
        fixed = _RECORD.pack(
            self._n + 1,
            float(int(answer.time_s)),
            answer.confidence,
            answer.disagreement,
            answer.similarity_margin,
            _OUT_OF_DISTRIBUTION if answer.out_of_distribution else 0,
            0,
            0,
        )[:_CHECKED]
        record = fixed + struct.pack("<I", zlib.crc32(fixed))
        place = _HEADER.size + self._n % self._capacity * _RECORD.size
        if os.pwrite(self._file, record, place) != len(record):
            raise OSError(f"'{self.path}': a record was written in part")
        self._n += 1

    def close(self) -> None:
        """Closes the file, which stays."""
        os.close(self._file)


@dataclass(frozen=True)
class Rings:
    """What a folder holds of one bundle.

    `n_other` are answers of other bundles, `n_damaged` records and files that are not whole.
    """

    answers: Answers
    n_other: int
    n_damaged: int


def read_rings(folder: Path, digest: str) -> Rings:
    """Reads the answers of a bundle from the files of all servers, in the order of time.

    Raises:
        UserError: a file cannot be opened.
    """
    found, n_other, n_damaged = [np.zeros(0, _FIELDS)], 0, 0
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # removed by a server that has just started
            continue
        except OSError as error:
            raise UserError(
                f"the answers in '{path}' cannot be read ({error.strerror}); run as a user who can"
            ) from None
        owner = _owner(content)
        if owner is None:
            n_damaged += 1
            continue
        records, damaged = _records(content)
        if owner == digest:
            found.append(records)
            n_damaged += damaged
        else:
            n_other += len(records)
    every = np.concatenate(found)
    every = every[np.argsort(every["time_s"], kind="stable")]
    return Rings(Answers(every), n_other, n_damaged)


def _owner(content: bytes) -> str | None:
    """The digest of the bundle that a file belongs to; None where its header is not valid."""
    if len(content) < _HEADER.size:
        return None
    magic, version, size, _, digest, checksum = _HEADER.unpack_from(content)
    valid = checksum == zlib.crc32(content[: _HEADER.size - 4])
    if not valid or (magic, version, size) != (_MAGIC, FORMAT_VERSION, _RECORD.size):
        return None
    return bytes(digest).hex()


def _records(content: bytes) -> tuple[NDArray[np.void], int]:
    """The whole records of a file, oldest first, and the number of those that are not."""
    body = content[_HEADER.size :]
    n, rest = divmod(len(body), _RECORD.size)
    records = np.frombuffer(body, _FIELDS, n)
    checked = [
        zlib.crc32(body[at : at + _CHECKED]) for at in range(0, n * _RECORD.size, _RECORD.size)
    ]
    whole = records["checksum"] == np.array(checked, np.uint32)
    kept = records[whole]
    return kept[np.argsort(kept["sequence"])], n - len(kept) + (rest > 0)


def _remove_old(folder: Path) -> None:
    """Removes the oldest files beyond `MAX_RINGS` - 1 that no server has open."""
    ended = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # another server removed it, or another user's
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            ended.append(path)
        except BlockingIOError:  # in use
            continue
        finally:
            os.close(file)
    for path in ended[: max(0, len(ended) - MAX_RINGS + 1)]:
        path.unlink(missing_ok=True)
