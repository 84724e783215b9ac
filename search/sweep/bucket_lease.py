"""The lease of a bucket: one process uploads at a time, and a dead one's lease is void."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from chorale.search.ledger.owner import Owner


@dataclass(frozen=True)
class BucketLease:
    """The process that uploads to a bucket; `at_s` is its last upload, in Unix time."""

    name: str
    process: str
    at_s: float

    @classmethod
    def mine(cls) -> "BucketLease":
        """A lease of this process, as of now."""
        owner = Owner.current()
        return cls(owner.name, owner.process, time.time())

    @property
    def age_s(self) -> float:
        """Seconds since its last upload."""
        return time.time() - self.at_s

    def lives(self) -> bool:
        """Whether the process still runs; yes when in doubt."""
        return Owner(self.name, self.process).is_alive(heartbeat_age_s=self.age_s)

    def is_same(self, other: "BucketLease | None") -> bool:
        """Whether both leases are of one process."""
        return other is not None and (self.name, self.process) == (other.name, other.process)


def read_lease(file: Path) -> BucketLease | None:
    """The lease in `file`; None where there is none that can be read."""
    try:
        return BucketLease(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
