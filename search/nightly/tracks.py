"""A night's first stage: brings the data up to date, audits it, and compares it with before."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date

from chorale.cluster import machine
from chorale.datasets.chunks import ChunkMap
from chorale.datasets.config import plain
from chorale.datasets.errors import UserError
from chorale.search.config.resolve import Resolved
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import Prepared, prepare
from chorale.search.data.tracks import read_tracks
from chorale.search.nightly import changes, locked
from chorale.search.nightly.changes import DataRefusedError, Difference, Snapshot
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.locked import Locked
from chorale.search.nightly.records import Records


@dataclass(frozen=True)
class Tonight:
    """The data of a night, fit to be learnt from."""

    resolved: Resolved
    prepared: Prepared
    snapshot: Snapshot
    difference: Difference
    locked: Locked
    is_fresh: bool
    """whether the test set is locked away tonight, for the first time"""


def look_at_data(nightly: Nightly, night: date, progress: Progress, *, accept: bool) -> Tonight:
    """All of the first stage; nothing is kept of it but what the night's own folder holds.

    Args:
        nightly: what is run.
        night: the date of the night.
        progress: where stages are told.
        accept: take the data as it is, whatever changed.

    Raises:
        DataRefusedError: it is not there, is too bad, leaks, or changed more than is allowed.
    """
    records, limits = Records(nightly.paths), nightly.ballot.changes
    if limits.sync is not None:
        sync(limits.sync, progress)
    known = Locked.read(nightly.paths.locked_json)
    asked = plain(nightly.sweep.split)
    if known is not None and dict(known.asked) != asked:
        progress.stage("locked", "the file asks for another test set, so a fresh one is locked")
        known = None
    try:
        raw = read_tracks(nightly.resolved, Progress(progress.console))
        present = set(raw["group"].astype(str))
        resolved = _with_lock(nightly, night, known, present, accept=accept)
        with chunks(nightly.sweep.cluster.address) as run:
            prepared = prepare(resolved, progress, run)
    except DataRefusedError:
        raise
    except UserError as error:
        raise DataRefusedError(str(error)) from error
    now = Snapshot.of(prepared.tracks, raw)
    found = changes.difference(_before(records, night), now)
    progress.stage("changes", f"since the last night: {found.said()}")
    if not accept:
        changes.refuse(found, limits, file=nightly.file)
        if known is not None:
            locked.refuse_moved(known, now, file=nightly.file)
    now.write(records.night(night).data_json)
    fresh = locked.lock(prepared.split, now, since=night.isoformat(), asked=asked)
    if known is not None:  # who joined a locked group tonight is locked away from now on, too
        fresh = replace(fresh, since=known.since, groups=known.groups if known.groups else ())
    return Tonight(resolved, prepared, now, found, fresh, known is None)


def _with_lock(
    nightly: Nightly, night: date, known: Locked | None, present: set[str], *, accept: bool
) -> Resolved:
    """What is swept, with the groups that earlier nights locked away."""
    if known is None or not known.groups:
        return nightly.sweep_of(night)
    left = tuple(group for group in known.groups if group in present)
    gone = sorted(set(known.groups) - set(left))
    if gone and (not accept or not left):
        raise DataRefusedError(
            f"{len(gone)} of {len(known.groups)} groups that were locked away on {known.since} are "
            f"gone: {', '.join(gone[:5])}; scores of other nights would not compare: bring them "
            f"back" + (", or " + changes.ACCEPT.format(file=nightly.file) if left else "")
        )
    split = replace(nightly.sweep.split, test_groups=left)
    return nightly.sweep_of(night, split=split)


def _before(records: Records, night: date) -> Snapshot | None:
    """The data of the last night that came to a verdict before this one."""
    done = [one.date for one in records.all() if one.state == "done" and one.date < night]
    return Snapshot.read(records.night(done[-1]).data_json) if done else None


def sync(command: str, progress: Progress) -> None:
    """Runs the command that brings the data up to date.

    Raises:
        DataRefusedError: it failed; its last line is told.
    """
    done = subprocess.run(
        command, shell=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        errors="replace", check=False,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    last = lines[-1] if lines else "it said nothing"
    if done.returncode:
        raise DataRefusedError(
            f"changes.sync ended with {done.returncode}: {last}; mend it, then call the night "
            f"again: {command}"
        )
    progress.stage("sync", last)


@contextmanager
def chunks(address: str | None) -> Iterator[ChunkMap]:
    """How files are listened to: in this process where the sweep runs in it, else in several."""
    if address == "none":
        yield map
        return
    from chorale.cluster.transfer.maps import process_map

    with process_map(machine.n_cpus()) as run:
        yield run
