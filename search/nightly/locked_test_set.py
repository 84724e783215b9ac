"""The locked test set of a nightly schedule: fixed on the first night, shared by all later ones.

It makes champion and candidate comparable while the data grows.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chorale.datasets.atomic import write_json
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.splitting.grouping import UNGROUPED_TEXT
from chorale.datasets.splitting.split import Split
from chorale.search.nightly.changes import ACCEPT_ADVICE, DataRefusedError, Snapshot, TrackFacts


@dataclass(frozen=True)
class LockedTestSet:
    """A locked test set.

    `groups` is set where the split was drawn at random or by name: then all tracks of these groups
    are locked, also later ones; it is empty where the dataset has an official test set. `asked` is
    the nightly file's `split` at that time; `since` is the night that locked it.
    """

    since: str
    asked: Mapping[str, Any]
    groups: tuple[str, ...]
    tracks: Mapping[str, TrackFacts]

    def write(self, path: Path) -> None:
        """Writes it for later nights."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> "LockedTestSet | None":
        """Reads a locked test set; None where nothing was locked yet.

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
                f"the locked test set cannot be read from '{path}' ({error}); restore that file: "
                f"without it nights cannot be compared"
            ) from None


def lock_test_set(
    split: Split, now: Snapshot, *, since: str, asked: Mapping[str, Any]
) -> LockedTestSet:
    """Locks the test tracks of a split."""
    tracks = {name: now.tracks[name] for name in split.test_ids}
    drawn = split.protocol.startswith(("test by group", f"test by {UNGROUPED_TEXT}", "test named"))
    groups = tuple(sorted({group for _, _, group in tracks.values()})) if drawn else ()
    return LockedTestSet(since, asked, groups, tracks)


def refuse_changed_test_set(locked: LockedTestSet, now: Snapshot, *, file: str) -> None:
    """Refuses the data if locked tracks are missing, or have other content or labels.

    Raises:
        DataRefusedError: they are; the error names them.
    """
    missing = [name for name in locked.tracks if name not in now.tracks]
    other = [
        f"{name} ({was[1]}, now {now.tracks[name][1]})"
        if was[1] != now.tracks[name][1]
        else f"{name} (other audio)"
        for name, was in locked.tracks.items()
        if name in now.tracks and was[:2] != now.tracks[name][:2]
    ]
    problems = [f"{len(missing)} are missing: {join_first(missing)}"] if missing else []
    problems += [f"{len(other)} have changed: {join_first(other)}"] if other else []
    if problems:
        raise DataRefusedError(
            f"of {len(locked.tracks)} test tracks that were locked on {locked.since} "
            f"{'; '.join(problems)}; scores would not be comparable between nights: fix the data, "
            f"or " + ACCEPT_ADVICE.format(file=file)
        )


def refuse_trained_on(locked: LockedTestSet, development: frozenset[str], *, study: str) -> None:
    """Refuses a fresh test set that contains tracks on which the champion was trained.

    Args:
        locked: the fresh test set.
        development: content hashes of the champion's development tracks.
        study: the champion's study.

    Raises:
        UserError: it does; the error names the tracks.
    """
    known = [name for name, (content, _, _) in locked.tracks.items() if content in development]
    if known:
        raise UserError(
            f"split: the champion (of study '{study}') was trained on {len(known)} of "
            f"{len(locked.tracks)} tracks of the fresh test set, which would overstate its "
            f"score: {join_first(known)}; name groups in split.test_groups that were added "
            f"later, or give the file another `champion` name to start over"
        )
