"""What a server takes, and how it says no: the bounds, and the refusal that a client reads.

Every other file of this folder asks here.
"""

from dataclasses import dataclass

from chorale.datasets.audio import AudioError
from chorale.datasets.errors import UserError

MB = 10**6
MAX_RATE = 48_000
"""A longer recording at a higher rate takes as much memory: the bound is of samples, too."""


@dataclass(frozen=True)
class Limits:
    """What a server takes: `body_mb` a body, `duration_s` a recording, `queue` requests at once.

    A body must arrive within `upload_s`, and be decoded within `decode_s`. So many recordings as
    `batch` are judged together where they wait.
    """

    body_mb: float = 50
    duration_s: float = 600
    upload_s: float = 60
    decode_s: float = 20
    queue: int = 32
    batch: int = 8

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UserError(f"--{name.replace('_', '-')} should be above 0, but got {value}")

    @property
    def body_bytes(self) -> int:
        """The longest body."""
        return int(self.body_mb * MB)


class Refused(Exception):  # noqa: N818 - a decision, not a fault
    """A request that is not answered: the status, one word for programs, a line for people.

    `unread` says that some of the body was not read, so that the connection must be closed.
    """

    def __init__(self, status: int, reason: str, detail: str, *, unread: bool = False) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.unread = unread


STATUS = {"too long": 413, "undecodable": 415, "not audio": 415}
"""What a client gets for a problem with its audio; for the others 422."""


def of_audio(error: AudioError) -> Refused:
    """The refusal of a recording; the file's name on the server is nobody's business."""
    return Refused(STATUS.get(error.problem, 422), error.problem, error.detail)
