"""The near duplicates of a study on disk, as its data stage has found them by its encoders."""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from chorale.datasets.atomic import write_json

MAX_LISTED = 3
"""Pairs that are named in a line; the table of all faults has every one."""


@dataclass(frozen=True)
class NearPair:
    """Two tracks that an encoder can hardly tell apart, and how similar they are, as text."""

    track_id: str
    other_id: str
    similarity: str


def write_near_pairs(path: Path, pairs: Sequence[NearPair]) -> None:
    """Writes the pairs of a study, also where there are none."""
    write_json(path, [astuple(pair) for pair in pairs])


def read_near_pairs(path: Path) -> list[NearPair]:
    """The pairs of a study; none where it has no encoder, or the file cannot be read."""
    try:
        return [NearPair(*map(str, one)) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def listed(pairs: Sequence[NearPair]) -> str:
    """The first pairs by name, and how many more there are."""
    each = [f"'{pair.track_id}' and '{pair.other_id}' ({pair.similarity})" for pair in pairs]
    more = f" and {len(each) - MAX_LISTED} more" if len(each) > MAX_LISTED else ""
    return ", ".join(each[:MAX_LISTED]) + more
