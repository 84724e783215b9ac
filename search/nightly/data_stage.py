"""The data stage of a night: updates the data, audits it, and compares it with the last night."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date

from chorale.cluster import machine
from chorale.datasets.chunks import ChunkMap
from chorale.datasets.config import to_plain_values
from chorale.datasets.errors import UserError
from chorale.search.config.resolve import ResolvedSweep, for_labels
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import PreparedData, prepare
from chorale.search.data.tracks import read_tracks
from chorale.search.nightly import changes, locked_test_set
from chorale.search.nightly.changes import DataDifference, DataRefusedError, Snapshot
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.locked_test_set import LockedTestSet
from chorale.search.nightly.records import Records


@dataclass(frozen=True)
class NightData:
    """The prepared and checked data of a night."""

    resolved: ResolvedSweep
    prepared: PreparedData
    snapshot: Snapshot
    difference: DataDifference
    locked: LockedTestSet
    is_fresh: bool
    """whether the test set is new tonight"""


def prepare_night_data(
    nightly: Nightly, night: date, progress: Progress, *, accept: bool
) -> NightData:
    """Runs the data stage; it writes only into the night's own folder.

    Args:
        nightly: the nightly file.
        night: the date of the night.
        progress: prints the stages.
        accept: accept the data as it is, whatever changed.

    Raises:
        DataRefusedError: the data is missing, too bad, leaks, or changed more than is allowed.
    """
    records, limits = Records(nightly.paths), nightly.settings.changes
    if limits.sync is not None:
        sync_data(limits.sync, progress)
    known = LockedTestSet.read(nightly.paths.locked_json)
    asked = to_plain_values(nightly.sweep.split)
    if known is not None and dict(known.asked) != asked:
        progress.stage("locked", "the file's `split` has changed, so a fresh test set is locked")
        known = None
    try:
        raw = read_tracks(nightly.resolved, Progress(progress.console)).table
        present = set(raw["group"].astype(str))
        resolved = _with_lock(nightly, night, known, present, accept=accept)
        with chunk_map(nightly.sweep.cluster.address) as run:
            prepared = prepare(resolved, progress, run)
        resolved = for_labels(resolved, multi_label=prepared.multi_label)
    except DataRefusedError:
        raise
    except UserError as error:
        raise DataRefusedError(str(error)) from error
    now = Snapshot.of(prepared.tracks, raw)
    found = changes.data_difference(_before(records, night), now)
    progress.stage("changes", f"since the last night: {found.summary()}")
    if not accept:
        changes.refuse_changes(found, limits, file=nightly.file)
        if known is not None:
            locked_test_set.refuse_changed_test_set(known, now, file=nightly.file)
    now.write(records.night(night).data_json)
    fresh = locked_test_set.lock_test_set(prepared.split, now, since=night.isoformat(), asked=asked)
    if known is not None:  # tracks that joined a locked group tonight are locked from now on, too
        fresh = replace(fresh, since=known.since, groups=known.groups if known.groups else ())
    return NightData(resolved, prepared, now, found, fresh, known is None)


def _with_lock(
    nightly: Nightly, night: date, known: LockedTestSet | None, present: set[str], *, accept: bool
) -> ResolvedSweep:
    """The night's sweep, with the groups that earlier nights locked."""
    if known is None or not known.groups:
        return nightly.sweep_of(night)
    left = tuple(group for group in known.groups if group in present)
    missing = sorted(set(known.groups) - set(left))
    if missing and (not accept or not left):
        raise DataRefusedError(
            f"{len(missing)} of {len(known.groups)} groups that were locked on {known.since} are "
            f"missing: {', '.join(missing[:5])}; scores would not be comparable between nights: "
            f"restore them"
            + (", or " + changes.ACCEPT_ADVICE.format(file=nightly.file) if left else "")
        )
    split = replace(nightly.sweep.split, test_groups=left)
    return nightly.sweep_of(night, split=split)


def _before(records: Records, night: date) -> Snapshot | None:
    """The data of the last night before this one that reached a verdict."""
    done = [one.date for one in records.all() if one.state == "done" and one.date < night]
    return Snapshot.read(records.night(done[-1]).data_json) if done else None


def sync_data(command: str, progress: Progress) -> None:
    """Runs the command that updates the data.

    Raises:
        DataRefusedError: it failed; the error holds its last line.
    """
    done = subprocess.run(
        command, shell=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        errors="replace", check=False,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    last = lines[-1] if lines else "no output"
    if done.returncode:
        raise DataRefusedError(
            f"changes.sync ended with {done.returncode}: {last}; fix it, then run the night "
            f"again: {command}"
        )
    progress.stage("sync", last)


@contextmanager
def chunk_map(address: str | None) -> Iterator[ChunkMap]:
    """How chunks of files are decoded: in this process for address `none`, else in several."""
    if address == "none":
        yield map
        return
    from chorale.cluster.transfer.maps import process_map

    with process_map(machine.n_cpus()) as run:
        yield run
