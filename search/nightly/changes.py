"""What changed in the data since the last night that was run, and whether too much did.

`search.nightly.steps` asks before anything is trained.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from chorale.datasets.atomic import write_json
from chorale.datasets.errors import UserError, shown
from chorale.search.nightly.config import Changes

ACCEPT = "if that is as it should be: chorale nightly {file} --accept"
Facts = tuple[str, str, str]
"""A track's content (a hash), label and group."""


class DataRefusedError(UserError):
    """The data is not fit to decide by; the champion stays."""


@dataclass(frozen=True)
class Snapshot:
    """The tracks of one night, as they were found; groups as the dataset names them."""

    tracks: Mapping[str, Facts]

    @classmethod
    def of(cls, audited: pd.DataFrame, raw: pd.DataFrame) -> "Snapshot":
        """The audited tracks, with their groups before those of the same recordings were joined.

        Args:
            audited: with track_id, content and label.
            raw: the dataset's own table of them.
        """
        groups = dict(zip(raw["track_id"].astype(str), raw["group"].astype(str), strict=True))
        rows = audited[["track_id", "content", "label"]].astype(str).itertuples(index=False)
        return cls({name: (content, label, groups[name]) for name, content, label in rows})

    def write(self, path: Path) -> None:
        """Keeps it with its night."""
        write_json(path, {name: list(facts) for name, facts in sorted(self.tracks.items())})

    @classmethod
    def read(cls, path: Path) -> "Snapshot | None":
        """What `write` kept; None where there is none.

        Raises:
            UserError: it is damaged.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls({name: (facts[0], facts[1], facts[2]) for name, facts in content.items()})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, IndexError, AttributeError) as error:
            raise UserError(
                f"what the tracks of an earlier night were cannot be read from '{path}' ({error}); "
                f"restore that file, or delete it: then nothing is compared with that night"
            ) from None


@dataclass(frozen=True)
class Difference:
    """Which tracks are other than they were, by their ids, each sorted.

    A track that was moved or renamed is the one that it was: its content says so. `relabelled`
    counts it where its label changed; `n_before` is how many tracks there were.
    """

    n_before: int = 0
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    regrouped: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind; only those that there are."""
        kinds = ("new", "gone", "relabelled", "changed", "regrouped")
        return {kind: n for kind in kinds if (n := len(getattr(self, kind)))}

    def said(self) -> str:
        """In a line: "12 new, 3 relabelled"."""
        counts = self.counts
        if not counts:
            return "nothing changed" if self.n_before else "nothing to compare with yet"
        return ", ".join(f"{n} {kind}" for kind, n in counts.items())


def difference(before: Snapshot | None, now: Snapshot) -> Difference:
    """What changed from one night to another."""
    if before is None:
        return Difference()
    old = before.tracks
    by_content = {facts[0]: name for name, facts in old.items() if facts[0]}
    found: dict[str, list[str]] = {"new": [], "relabelled": [], "changed": [], "regrouped": []}
    seen = set()
    for name, (content, label, group) in now.tracks.items():
        was = name if name in old else by_content.get(content)
        if was is None or (was != name and was in now.tracks):  # a copy is new
            found["new"].append(name)
            continue
        seen.add(was)
        if label != old[was][1]:
            found["relabelled"].append(name)
        if content != old[was][0]:
            found["changed"].append(name)
        # who is its own group is renamed with it
        if group != old[was][2] and was == name:
            found["regrouped"].append(name)
    gone = sorted(old.keys() - seen)
    each = {kind: tuple(sorted(names)) for kind, names in found.items()}
    return Difference(len(old), gone=tuple(gone), **each)


def refuse(found: Difference, limits: Changes, *, file: str) -> None:
    """Stops where more changed than is allowed.

    Raises:
        DataRefusedError: says what, how much, and what to do.
    """
    said = []
    for kind, limit in (("relabelled", limits.max_relabelled), ("gone", limits.max_gone)):
        names: tuple[str, ...] = getattr(found, kind)
        if found.n_before and len(names) > limit * found.n_before:
            said.append(
                f"{len(names)} of {found.n_before} tracks are {kind} "
                f"({len(names) / found.n_before:.1%}; allowed are {limit:.1%} by "
                f"changes.max_{kind}): {shown(names)}"
            )
    if said:
        raise DataRefusedError(
            f"since the last night {'; '.join(said)}; mend the data, or " + ACCEPT.format(file=file)
        )
