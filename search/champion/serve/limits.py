"""Request limits of a server, and `RefusedRequest`, which becomes the HTTP error of a client.

The other files of this folder use it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError

if TYPE_CHECKING:
    from chorale.datasets.audio import AudioError

MB = 10**6
MAX_RATE = 48_000
"""Maximum sample rate in Hz of the longest recording: memory grows with samples, not seconds."""


@dataclass(frozen=True)
class RequestLimits:
    """Limits: `body_mb` per body, `duration_s` per recording, `queue` requests at once.

    A body must arrive within `upload_s` and be decoded within `decode_s`. Up to `batch` waiting
    recordings are predicted in one batch.
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
        """The maximum size of a body."""
        return int(self.body_mb * MB)


class RefusedRequest(Exception):  # noqa: N818 - a decision, not a fault
    """A refused request: HTTP status, a short reason for programs, a line of detail for people.

    `unread` means that a part of the body was not read, so the connection must be closed.
    """

    def __init__(self, status: int, reason: str, detail: str, *, unread: bool = False) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.unread = unread


STATUS_OF_PROBLEM = {"too long": 413, "undecodable": 415, "not audio": 415, "no decoder": 415}
"""HTTP status of a problem with the audio; of others 422."""


def refusal_of_audio(error: "AudioError") -> RefusedRequest:
    """The refusal of a recording, without the file's name on the server."""
    status = STATUS_OF_PROBLEM.get(error.problem, 422)
    if error.problem == "no decoder":  # its detail is what to type on this machine
        return RefusedRequest(
            status, error.problem, "this server does not decode files of its format"
        )
    return RefusedRequest(status, error.problem, error.detail)
