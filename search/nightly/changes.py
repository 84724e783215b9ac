"""Data change detection: what changed since the last night, and whether that is too much.

`search.nightly.data_stage` checks it before anything is trained.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from chorale.datasets.atomic import write_json
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.label_sets import LABEL_SEPARATOR, labels_of, unknown_texts
from chorale.search.nightly.config import ChangesConfig

ACCEPT_ADVICE = "if the change is intended: chorale nightly {file} --accept"
TrackFacts = tuple[str, str, str]
"""A track's content hash, label and group."""


class DataRefusedError(UserError):
    """The data is not fit for a comparison; the champion stays."""


@dataclass(frozen=True)
class Snapshot:
    """The tracks of one night, as they were found, with the dataset's own groups."""

    tracks: Mapping[str, TrackFacts]

    @classmethod
    def of(cls, audited: pd.DataFrame, raw: pd.DataFrame) -> "Snapshot":
        """The audited tracks, with their groups before groups of duplicates were joined.

        Args:
            audited: the tracks that passed the audit, with track_id, content and label; labels
                that are unknown are written as "drums?".
            raw: the dataset's own track table.
        """
        groups = dict(zip(raw["track_id"].astype(str), raw["group"].astype(str), strict=True))
        rows = audited[["track_id", "content", "label"]].astype(str).itertuples(index=False)
        found = {}
        for (name, content, label), unknown in zip(rows, unknown_texts(audited), strict=True):
            every = [*labels_of(label), *(f"{one}?" for one in labels_of(unknown))]
            found[name] = (content, LABEL_SEPARATOR.join(every), groups[name])
        return cls(found)

    def write(self, path: Path) -> None:
        """Writes the snapshot as JSON."""
        write_json(path, {name: list(facts) for name, facts in sorted(self.tracks.items())})

    @classmethod
    def read(cls, path: Path) -> "Snapshot | None":
        """Reads a snapshot; None where there is none.

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
                f"the tracks of an earlier night cannot be read from '{path}' ({error}); restore "
                f"that file, or delete it: then nothing is compared with that night"
            ) from None


@dataclass(frozen=True)
class DataDifference:
    """The tracks that changed, by their ids, each sorted; `gone` are those that no longer exist.

    A track that was moved or renamed is recognised by its content; it is `relabelled` if its label
    changed. `n_before` is the number of tracks before.
    """

    n_before: int = 0
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    regrouped: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Kind of change -> number of tracks; only kinds that occur."""
        kinds = ("new", "gone", "relabelled", "changed", "regrouped")
        return {kind: n for kind in kinds if (n := len(getattr(self, kind)))}

    def summary(self) -> str:
        """The counts in one line: "12 new, 3 relabelled"."""
        counts = self.counts
        if not counts:
            return "nothing changed" if self.n_before else "nothing to compare with yet"
        return ", ".join(f"{n} {kind}" for kind, n in counts.items())


def data_difference(before: Snapshot | None, now: Snapshot) -> DataDifference:
    """The changes from one night to another."""
    if before is None:
        return DataDifference()
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
        # a renamed track that is its own group changes its group, too
        if group != old[was][2] and was == name:
            found["regrouped"].append(name)
    gone = sorted(old.keys() - seen)
    each = {kind: tuple(sorted(names)) for kind, names in found.items()}
    return DataDifference(len(old), gone=tuple(gone), **each)


def refuse_changes(found: DataDifference, limits: ChangesConfig, *, file: str) -> None:
    """Refuses the data if more changed than is allowed.

    Raises:
        DataRefusedError: it did; the error names the tracks and the limit.
    """
    problems = []
    for kind, limit in (("relabelled", limits.max_relabelled), ("gone", limits.max_gone)):
        names: tuple[str, ...] = getattr(found, kind)
        if found.n_before and len(names) > limit * found.n_before:
            problems.append(
                f"{len(names)} of {found.n_before} tracks are {kind} "
                f"({len(names) / found.n_before:.1%}; allowed are {limit:.1%} by "
                f"changes.max_{kind}): {join_first(names)}"
            )
    if problems:
        raise DataRefusedError(
            f"since the last night {'; '.join(problems)}; fix the data, or "
            + ACCEPT_ADVICE.format(file=file)
        )
