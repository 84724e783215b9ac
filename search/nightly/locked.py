"""The test tracks that all nights have in common: locked away on the first, the same ever after.

Without them the champion and a candidate could not be compared, however the data grows.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chorale.datasets.atomic import write_json
from chorale.datasets.errors import UserError, shown
from chorale.datasets.splitting.grouping import UNGROUPED
from chorale.datasets.splitting.split import Split
from chorale.search.nightly.changes import ACCEPT, DataRefusedError, Facts, Snapshot


@dataclass(frozen=True)
class Locked:
    """A locked test set.

    `groups` are named where the split was drawn, and then lock every track of theirs away, also
    later ones; where the dataset brings an official test set there are none. `asked` is what the
    nightly file said of the split by then; `since` the night that locked it.
    """

    since: str
    asked: Mapping[str, Any]
    groups: tuple[str, ...]
    tracks: Mapping[str, Facts]

    def write(self, path: Path) -> None:
        """Keeps it for later nights."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Locked | None":
        """What `write` kept; None where nothing was locked yet.

        Raises:
            UserError: it is damaged.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            tracks = {name: tuple(facts) for name, facts in content["tracks"].items()}
            groups = tuple(content["groups"])
            return cls(content["since"], content["asked"], groups, tracks)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"which tracks are locked away cannot be read from '{path}' ({error}); restore "
                f"that file: without it no night can be compared with another"
            ) from None


def lock(split: Split, now: Snapshot, *, since: str, asked: Mapping[str, Any]) -> Locked:
    """Locks the test tracks of a split away."""
    tracks = {name: now.tracks[name] for name in split.test_ids}
    drawn = split.protocol.startswith(("test by group", f"test by {UNGROUPED}", "test named"))
    groups = tuple(sorted({group for _, _, group in tracks.values()})) if drawn else ()
    return Locked(since, asked, groups, tracks)


def refuse_moved(locked: Locked, now: Snapshot, *, file: str) -> None:
    """Stops where the locked tracks are no longer what they were.

    Raises:
        DataRefusedError: says which, and what to do.
    """
    gone = [name for name in locked.tracks if name not in now.tracks]
    other = [
        f"{name} ({was[1]}, now {now.tracks[name][1]})"
        if was[1] != now.tracks[name][1]
        else f"{name} (other audio)"
        for name, was in locked.tracks.items()
        if name in now.tracks and was[:2] != now.tracks[name][:2]
    ]
    said = [f"{len(gone)} are gone: {shown(gone)}"] if gone else []
    said += [f"{len(other)} are other than they were: {shown(other)}"] if other else []
    if said:
        raise DataRefusedError(
            f"of {len(locked.tracks)} test tracks that were locked away on {locked.since} "
            f"{'; '.join(said)}; scores of other nights would not compare: mend the data, or "
            + ACCEPT.format(file=file)
        )


def refuse_trained_on(locked: Locked, development: frozenset[str], *, study: str) -> None:
    """Stops a fresh test set on which the champion was trained.

    Args:
        locked: the fresh one.
        development: content hashes of what the champion learnt from.
        study: the champion's.

    Raises:
        UserError: says how many, and what to do.
    """
    known = [name for name, (content, _, _) in locked.tracks.items() if content in development]
    if known:
        raise UserError(
            f"split: {len(known)} of {len(locked.tracks)} tracks of the fresh test set taught the "
            f"champion (of study '{study}'), so it would seem better there than it is: "
            f"{shown(known)}; name groups in split.test_groups that came after it, or give the "
            f"file another `champion` name to begin anew"
        )
