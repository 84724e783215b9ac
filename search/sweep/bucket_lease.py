"""Who carries a copy to a bucket: one process at a time, and one that died is not waited for."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from chorale.search.ledger.owner import Holder


@dataclass(frozen=True)
class Writer:
    """The process that carries a copy to a bucket; `at_s`, of the epoch, is when it last did."""

    name: str
    process: str
    at_s: float

    @classmethod
    def me(cls) -> "Writer":
        """The process that asks, now."""
        holder = Holder.me()
        return cls(holder.name, holder.process, time.time())

    @property
    def age_s(self) -> float:
        """How long ago it was last heard of."""
        return time.time() - self.at_s

    def lives(self) -> bool:
        """Whether it still runs; when in doubt, it does."""
        return Holder(self.name, self.process).alive(beat_age_s=self.age_s)

    def is_same(self, other: "Writer | None") -> bool:
        """Whether both are one process."""
        return other is not None and (self.name, self.process) == (other.name, other.process)


def read_writer(file: Path) -> Writer | None:
    """Who is named there, if anybody."""
    try:
        return Writer(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
