"""The steps of one night: data, sweep, candidate against champion, verdict, promotion, clean-up.

Each leaves its mark in the night's record before the next begins, so a night that dies is taken up
where it stood when it is called again.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any

from rich.markup import escape

from chorale.datasets.errors import UserError
from chorale.search.bundle.bundle import Bundle
from chorale.search.champion.pack.pack import collect, pack
from chorale.search.champion.registry.registry import Shelf
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import fingerprint
from chorale.search.evaluation.member_names import counted, parted
from chorale.search.ledger.ground_truth import read_truth
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.reader import LedgerReader
from chorale.search.ledger.stages import SEARCH
from chorale.search.nightly import drift_check, locked
from chorale.search.nightly.calendar import ONE_DAY, Schedule, due
from chorale.search.nightly.changes import ACCEPT, DataRefusedError, Snapshot
from chorale.search.nightly.comparison import Contest, contest, looks_allowed
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.earlier import Origin, Teachers, allies, origin_of, points
from chorale.search.nightly.records import Night, Records
from chorale.search.nightly.retention import clean_up
from chorale.search.nightly.tracks import Tonight, look_at_data
from chorale.search.paths import Runs
from chorale.search.sweep.run import run_sweep
from chorale.search.sweep.stage import Lessons


def minutes_left(schedule: Schedule, night: date, now: datetime) -> float:
    """How long a night may take from now on.

    One that is called late gets as long as any, but no longer than until the next one begins.
    """
    begin, end = schedule.begin(night), schedule.end(night)
    if now >= end:
        next_night = due(schedule, now, None).night or night
        end = min(now + (end - begin), schedule.begin(next_night + ONE_DAY))
    return max((end - now).total_seconds() / 60, 1.0)


@dataclass
class Steps:
    """What the steps of one night share."""

    nightly: Nightly
    records: Records
    progress: Progress
    clock: Callable[[], datetime]
    accept: bool
    record: Night | None = None

    def __post_init__(self) -> None:
        self.runs: Runs = self.nightly.runs
        self.shelf = Shelf(self.runs.champion(self.nightly.champion))

    def run(self, record: Night) -> Night:
        """All steps that are not done yet."""
        self.record = record
        if not record.verdict:
            tonight = look_at_data(self.nightly, record.date, self.progress, accept=self.accept)
            record = self._swept(record, tonight)
        if record.verdict == "PROMOTED":
            self._promote(record)
        record = self._keep(record)
        removed = clean_up(self.nightly, self.records, record, self.shelf)
        for line in removed:
            self.progress.stage("removed", escape(line))
        figures = {**record.figures, "removed": removed}
        return self.records.end(record, "done", figures=figures)

    def _swept(self, record: Night, tonight: Tonight) -> Night:
        """Sweeps and decides; what was decided is in the record that it gives."""
        champion = self.shelf.current()
        teachers = self._teachers(record.date, champion)
        origin = teachers.sentinel
        ledger = Ledger(self.nightly.sweep.ledger_url)
        try:
            study = _free_name(ledger, self.nightly, record.date, tonight)
            spent_s = ledger.spent_s(study)
        finally:
            ledger.close()
        self.record = record = self.records.write(replace(record, study=study))
        if tonight.is_fresh and champion is not None:
            self._refuse_trained_on(champion, tonight)
        minutes = minutes_left(self.nightly.ballot.schedule, record.date, self.clock())
        minutes += spent_s / 60
        given = self.nightly.sweep.budget.minutes
        budget = replace(
            self.nightly.sweep.budget, minutes=minutes if given is None else min(given, minutes)
        )
        sweep = replace(tonight.resolved.sweep, name=study, budget=budget)
        resolved = replace(tonight.resolved, sweep=sweep)
        found = run_sweep(
            resolved,
            resume=None,
            console=self.progress.console,
            lessons=Lessons(
                points(teachers),
                allies(teachers, self.runs),
                sentinel=None if origin is None or not origin.is_trial else origin.source,
            ),
        )
        reader = LedgerReader(sweep.ledger_url)
        try:
            seen = self._sentinel(reader, teachers, study, champion, tonight.snapshot)
            candidate = self._packed(record, resolved, found, reader, teachers)
            looks = self._looks(reader, record, tonight)
        finally:
            reader.close()
        made = contest(
            candidate,
            champion,
            mine=sweep.paths,
            theirs=self._study_of(champion, tonight),
            tracks=tonight.prepared.tracks,
            gate=self.nightly.ballot.gate,
            seed=sweep.search.seed,
        )
        figures = _figures(found, made, tonight, seen, teachers)
        most = self.nightly.ballot.max_looks or looks_allowed(self.nightly.ballot.gate.confidence)
        figures |= {"looks": looks, "max_looks": most, "minutes": budget.minutes}
        figures["promoted_by"] = "" if champion is None else champion.manifest.study
        self.record = record = self.records.write(replace(record, figures=figures))
        if seen.moved and not self.accept:
            raise DataRefusedError(
                f"{seen.reason}; mend it, or {ACCEPT.format(file=self.nightly.file)}"
            )
        tonight.locked.write(self.nightly.paths.locked_json)
        decision = made.decision
        # From here on the night is decided, whatever dies.
        self.record = record = self.records.write(
            replace(
                record,
                verdict=decision.verdict.value,
                reason=decision.reason,
                expected=None if champion is None else champion.digest,
                candidate=candidate.digest,
            )
        )
        return record

    def _promote(self, record: Night) -> None:
        """Makes the candidate champion, if that has not been done yet."""
        history = self.shelf.history()
        now = history[-1].digest if history else None
        if now == record.candidate:
            return
        bundle = Bundle.open(self.records.night(record.date).bundle.root)
        reason = f"night of {record.date}: {record.reason}"
        self.shelf.promote(bundle, expected=record.expected, reason=reason)

    def _keep(self, record: Night) -> Night:
        history = self.shelf.history()
        digest = history[-1].digest if history else ""
        self.record = record = replace(record, champion=digest)
        return record

    def _teachers(self, night: date, champion: Bundle | None) -> Teachers:
        """The latest nights, that of the champion among them, and its first member.

        Its first trial, or where it has none its first baseline.
        """
        every = self.records.all()
        done = [one for one in every if one.state == "done" and one.study and one.date < night]
        numbered = [((one.date - every[0].date).days + 1, one.study) for one in reversed(done)]
        chosen = numbered[: self.nightly.ballot.earlier]
        origin: Origin | None = None
        if champion is not None:
            study = champion.manifest.study
            chosen += [one for one in numbered if one[1] == study and one not in chosen]
            trials, baselines = parted(champion.manifest.members)
            if trials:
                origin = origin_of(int(trials[0]), study, numbered)
            elif baselines:
                origin = Origin(study, baselines[0])
        return Teachers(tuple(chosen), origin)

    def _sentinel(
        self,
        ledger: LedgerReader,
        teachers: Teachers,
        study: str,
        champion: Bundle | None,
        snapshot: Snapshot,
    ) -> drift_check.Sentinel:
        origin = teachers.sentinel
        before = None
        if origin is not None:
            paths = self.runs.study(origin.study)
            before = drift_check.Night(origin.study, paths, self._snapshot_of(origin.study))
        seen = drift_check.compare(
            origin,
            before,
            drift_check.Night(study, self.runs.study(study), snapshot),
            ledger=ledger,
            confidence=self.nightly.ballot.changes.confidence,
            seed=self.nightly.sweep.search.seed,
        )
        if champion is not None:
            self.progress.stage("sentinel", escape(seen.reason))
        return seen

    def _snapshot_of(self, study: str) -> Snapshot | None:
        """The tracks of the night that a study is of, if they are known."""
        that = next((one for one in self.records.all() if one.study == study), None)
        return None if that is None else Snapshot.read(self.records.night(that.date).data_json)

    def _packed(
        self,
        record: Night,
        resolved: Any,
        found: dict[str, Any],
        ledger: LedgerReader,
        teachers: Teachers,
    ) -> Bundle:
        sweep = resolved.sweep
        truth = read_truth(sweep.paths)
        if truth is None:
            raise UserError(f"study '{sweep.name}' lacks '{sweep.paths.truth_json}'; bring it back")
        kinds: dict[int, str] = {}
        for member in parted(found["ensemble"]["members"])[0]:
            origin = origin_of(int(member), sweep.name, teachers.nights)
            if origin is not None:
                row = ledger.rows(origin.study, SEARCH).get(str(origin.member))
                kinds[int(member)] = "" if row is None else str(row.facts.get("architecture", ""))
        packed = collect(sweep, truth, found, kinds)
        bundle = pack(packed, self.records.night(record.date).bundle.root)
        self.progress.stage("candidate", f"{packed.kind} of {counted(packed.members)}")
        return bundle

    def _looks(self, ledger: LedgerReader, record: Night, tonight: Tonight) -> int:
        since = date.fromisoformat(tonight.locked.since)
        studies = {one.study for one in self.records.all() if one.date >= since} | {record.study}
        return ledger.n_looks_of(studies - {""})

    def _study_of(self, champion: Bundle | None, tonight: Tonight) -> Any:
        """The champion's study, if it knew the very same test tracks."""
        if champion is None:
            return None
        name = champion.manifest.study
        before = self._snapshot_of(name)
        if before is None:
            return None
        for track in tonight.prepared.split.test_ids:
            was = before.tracks.get(track)
            if was is None or was[0] != tonight.snapshot.tracks[track][0]:
                return None
        return self.runs.study(name)

    def _refuse_trained_on(self, champion: Bundle, tonight: Tonight) -> None:
        """A fresh test set must be new to the champion, too."""
        name = champion.manifest.study
        truth = read_truth(self.runs.study(name))
        before = self._snapshot_of(name)
        if truth is None or before is None:
            raise UserError(
                f"the champion is of study '{name}', and what it learnt from is not known here, so "
                f"a fresh test set may hold some of it; give the file another `champion` name to "
                f"begin anew"
            )
        ids = [track for track in truth.split.development_ids if track in before.tracks]
        learnt = frozenset(before.tracks[track][0] for track in ids)
        locked.refuse_trained_on(tonight.locked, learnt, study=name)


def _free_name(ledger: Ledger, nightly: Nightly, night: date, tonight: Tonight) -> str:
    """The night's study, or, where one of that name was about other data or settings, another."""
    name = nightly.study(night)
    for n in range(2, 1000):
        wanted = fingerprint(tonight.resolved, tonight.prepared)
        if ledger.state(name) is None or ledger.fingerprint(name) == wanted:
            return name
        name = f"{nightly.study(night)}-{n}"
    raise UserError(f"the night of {night} was begun too often; delete some of its studies")


def _figures(
    found: dict[str, Any], made: Contest, tonight: Tonight, seen: drift_check.Sentinel, t: Teachers
) -> dict[str, Any]:
    """What the pages tell of a night, JSON-ready."""
    decision = made.decision
    return {
        "candidate": made.candidate,
        "champion": made.champion,
        "difference": decision.difference,
        "lower": decision.lower,
        "p_value": decision.p_value,
        "n_tracks_needed": decision.n_tracks_needed,
        "latency_ms": made.latency_ms,
        "latency_wall_ms": made.latency_wall_ms,
        "size_mb": made.size_mb,
        "kind": found["ensemble"]["kind"],
        "members": found["ensemble"]["members"],
        "trials": {key: found["trials"][key] for key in ("complete", "pruned", "failed")},
        "cost": found["cost"],
        "validation": found["best_single"]["validation"]["accuracy"],
        "n_tracks": found["dataset"]["n_tracks"],
        "n_quarantined": found["dataset"]["n_quarantined"],
        "changes": tonight.difference.counts,
        "changes_said": tonight.difference.said(),
        "sentinel": asdict(seen),
        "taught_by": [name for _, name in t.nights],
        "locked_since": tonight.locked.since,
    }
