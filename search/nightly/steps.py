"""The steps of one night: data, sweep, comparison with the champion, verdict, promotion, clean-up.

Each step updates the night's record before the next one starts, so a night that dies is resumed at
that step when it is called again.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any

from chorale.datasets.errors import UserError
from chorale.search.bundle.bundle import Bundle
from chorale.search.champion.pack.pack import collect_contents, pack_bundle
from chorale.search.champion.registry.registry import Registry
from chorale.search.champion.tracking import track_or_explain
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import study_fingerprint
from chorale.search.evaluation.member_names import count_members, split_members
from chorale.search.ledger.ground_truth import read_ground_truth
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.reader import LedgerReader
from chorale.search.ledger.stages import SEARCH
from chorale.search.monitoring.monitor import SweepMonitor
from chorale.search.nightly import drift_check, locked_test_set
from chorale.search.nightly.calendar import ONE_DAY, NightlySchedule, due_nights
from chorale.search.nightly.changes import ACCEPT_ADVICE, DataRefusedError, Snapshot
from chorale.search.nightly.comparison import Comparison, compare_bundles, max_test_looks
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.data_stage import NightData, prepare_night_data
from chorale.search.nightly.earlier_nights import (
    EarlierNights,
    StudyMember,
    earlier_members,
    nightly_warm_start,
    resolve_member,
)
from chorale.search.nightly.held_out import NightStudy
from chorale.search.nightly.records import Night, Records
from chorale.search.nightly.retention import clean_up
from chorale.search.nightly.served_health import served_health
from chorale.search.paths import Runs
from chorale.search.statistics.main_score import main_score_of
from chorale.search.sweep.earlier_studies import EarlierStudies
from chorale.search.sweep.run import run_sweep


def minutes_left(schedule: NightlySchedule, night: date, now: datetime) -> float:
    """The minutes that a night may still take.

    A night that starts late gets the full duration, but ends before the next one starts.
    """
    begin, end = schedule.begin(night), schedule.end(night)
    if now >= end:
        next_night = due_nights(schedule, now, None).night or night
        end = min(now + (end - begin), schedule.begin(next_night + ONE_DAY))
    return max((end - now).total_seconds() / 60, 1.0)


@dataclass
class NightSteps:
    """The steps of one night, with the state that they share."""

    nightly: Nightly
    records: Records
    progress: Progress
    clock: Callable[[], datetime]
    accept: bool
    record: Night | None = None
    monitor: SweepMonitor | None = None

    def __post_init__(self) -> None:
        self.runs: Runs = self.nightly.runs
        self.registry = Registry(self.runs.champion(self.nightly.champion))

    def run(self, record: Night) -> Night:
        """Runs all steps that are not done yet; returns the final record."""
        self.record = record
        if not record.verdict:
            tonight = prepare_night_data(
                self.nightly, record.date, self.progress, accept=self.accept
            )
            record = self._sweep_and_decide(record, tonight)
        if record.verdict == "PROMOTED":
            self._promote(record)
        record = self._record_champion(record)
        self._track(record)
        removed = clean_up(self.nightly, self.records, record, self.registry)
        for line in removed:
            self.progress.stage("removed", line)
        figures = {**record.figures, "removed": removed}
        return self.records.end(record, "done", figures=figures)

    def _sweep_and_decide(self, record: Night, tonight: NightData) -> Night:
        """Runs the sweep and the comparison; returns the record with the verdict."""
        champion = self.registry.current()
        earlier = self._earlier_nights(record.date, champion)
        origin = earlier.drift_origin
        with Ledger(self.nightly.sweep.ledger_url) as ledger:
            study = _free_name(ledger, self.nightly, record.date, tonight)
            spent_s = ledger.spent_s(study)
        self.record = record = self.records.write(replace(record, study=study))
        if tonight.is_fresh and champion is not None:
            self._refuse_trained_on(champion, tonight)
        minutes = minutes_left(self.nightly.settings.schedule, record.date, self.clock())
        minutes += spent_s / 60
        given = self.nightly.sweep.budget.minutes
        budget = replace(
            self.nightly.sweep.budget,
            minutes=minutes if given is None else min(given, minutes),
            max_epochs=self.nightly.sweep.budget.n_epochs,  # the same every night
        )
        every = tonight.resolved.space.architectures
        sweep = replace(tonight.resolved.sweep, name=study, budget=budget, architectures=every)
        resolved = replace(tonight.resolved, sweep=sweep)
        found = run_sweep(
            resolved,
            resume=None,
            console=self.progress.console,
            monitor=self.monitor,
            earlier=EarlierStudies(
                nightly_warm_start(earlier),
                earlier_members(earlier, self.runs),
                drift_check=None if origin is None or not origin.is_trial else origin.source,
            ),
        )
        with LedgerReader(sweep.ledger_url) as reader:
            drift = self._check_drift(reader, earlier, study, champion, tonight.snapshot)
            candidate = self._packed(record, resolved, found, reader, earlier)
            looks = self._looks(reader, record, tonight)
        comparison = compare_bundles(
            candidate,
            champion,
            study=sweep.paths,
            champion_study=self._study_of(champion, tonight),
            tracks=tonight.prepared.tracks,
            gate=self.nightly.settings.gate,
            limit=sweep.limit,
            seed=sweep.search.seed,
        )
        figures = _figures(found, comparison, tonight, drift, earlier)
        settings = self.nightly.settings
        max_looks = settings.max_looks or max_test_looks(settings.gate.confidence)
        figures |= {"looks": looks, "max_looks": max_looks, "minutes": budget.minutes}
        figures["in_use"] = in_use = served_health(self.registry.paths.health, champion)
        if in_use is not None:
            self.progress.stage("in use", in_use["sentence"])
        figures["promoted_by"] = "" if champion is None else champion.manifest.study
        self.record = record = self.records.write(replace(record, figures=figures))
        if drift.moved and not self.accept:
            raise DataRefusedError(
                f"{drift.reason}; fix the data, or {ACCEPT_ADVICE.format(file=self.nightly.file)}"
            )
        tonight.locked.write(self.nightly.paths.locked_json)
        decision = comparison.decision
        # From here on the verdict is recorded, and survives a crash.
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
        """Promotes the candidate, unless that was already done."""
        history = self.registry.history()
        now = history[-1].digest if history else None
        if now == record.candidate:
            return
        bundle = Bundle.open(self.records.night(record.date).bundle.root)
        reason = f"night of {record.date}: {record.reason}"
        self.registry.promote(bundle, expected=record.expected, reason=reason)

    def _track(self, record: Night) -> None:
        """Moves the aliases of champion and candidate, where the night's study is tracked."""
        if self.nightly.sweep.track is None:
            return
        folder = self.records.night(record.date).bundle.root
        candidate = folder if folder.is_dir() else None
        for line in track_or_explain(self.runs, self.nightly.champion, challenger=candidate):
            self.progress.stage("track", line)

    def _record_champion(self, record: Night) -> Night:
        history = self.registry.history()
        digest = history[-1].digest if history else ""
        self.record = record = replace(record, champion=digest)
        return record

    def _earlier_nights(self, night: date, champion: Bundle | None) -> EarlierNights:
        """The latest nights, the champion's night, and the champion's member for the drift check.

        The latter is the champion's first trial, or where it has none its first baseline.
        """
        every = self.records.all()
        done = [one for one in every if one.state == "done" and one.study and one.date < night]
        numbered = [((one.date - every[0].date).days + 1, one.study) for one in reversed(done)]
        chosen = numbered[: self.nightly.settings.earlier]
        origin: StudyMember | None = None
        if champion is not None:
            study = champion.manifest.study
            chosen += [one for one in numbered if one[1] == study and one not in chosen]
            trials, baselines = split_members(champion.manifest.members)
            if trials:
                origin = resolve_member(int(trials[0]), study, numbered)
            elif baselines:
                origin = StudyMember(study, baselines[0])
        return EarlierNights(tuple(chosen), origin)

    def _check_drift(
        self,
        ledger: LedgerReader,
        earlier: EarlierNights,
        study: str,
        champion: Bundle | None,
        snapshot: Snapshot,
    ) -> drift_check.DriftCheck:
        origin = earlier.drift_origin
        before = None
        if origin is not None:
            paths = self.runs.study(origin.study)
            before = NightStudy(origin.study, paths, self._snapshot_of(origin.study))
        drift = drift_check.check_drift(
            origin,
            before,
            NightStudy(study, self.runs.study(study), snapshot),
            ledger=ledger,
            confidence=self.nightly.settings.changes.confidence,
            seed=self.nightly.sweep.search.seed,
        )
        if champion is not None:
            self.progress.stage("drift", drift.reason)
        return drift

    def _snapshot_of(self, study: str) -> Snapshot | None:
        """The snapshot of the night that a study belongs to, if it exists."""
        that = next((one for one in self.records.all() if one.study == study), None)
        return None if that is None else Snapshot.read(self.records.night(that.date).data_json)

    def _packed(
        self,
        record: Night,
        resolved: Any,
        found: dict[str, Any],
        ledger: LedgerReader,
        earlier: EarlierNights,
    ) -> Bundle:
        sweep = resolved.sweep
        truth = read_ground_truth(sweep.paths)
        if truth is None:
            raise UserError(
                f"study '{sweep.name}' lacks '{sweep.paths.ground_truth_json}'; restore that file"
            )
        kinds: dict[int, str] = {}
        for member in split_members(found["ensemble"]["members"])[0]:
            origin = resolve_member(int(member), sweep.name, earlier.nights)
            if origin is not None:
                row = ledger.rows(origin.study, SEARCH).get(str(origin.member))
                kinds[int(member)] = "" if row is None else str(row.facts.get("architecture", ""))
        packed = collect_contents(sweep, truth, found, kinds)
        bundle = pack_bundle(packed, self.records.night(record.date).bundle.root)
        self.progress.stage("candidate", f"{packed.kind} of {count_members(packed.members)}")
        return bundle

    def _looks(self, ledger: LedgerReader, record: Night, tonight: NightData) -> int:
        since = date.fromisoformat(tonight.locked.since)
        studies = {one.study for one in self.records.all() if one.date >= since} | {record.study}
        return ledger.n_looks_of(studies - {""})

    def _study_of(self, champion: Bundle | None, tonight: NightData) -> Any:
        """The champion's study, if it had exactly the same test tracks."""
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

    def _refuse_trained_on(self, champion: Bundle, tonight: NightData) -> None:
        """Refuses a fresh test set that holds tracks on which the champion was trained.

        Raises:
            UserError: it does, or the champion's tracks are not known.
        """
        name = champion.manifest.study
        truth = read_ground_truth(self.runs.study(name))
        before = self._snapshot_of(name)
        if truth is None or before is None:
            raise UserError(
                f"the tracks on which the champion (of study '{name}') was trained are not known "
                f"here, so a fresh test set may hold some of them; give the file another "
                f"`champion` name to start over"
            )
        ids = [track for track in truth.split.trained_ids if track in before.tracks]
        development = frozenset(before.tracks[track][0] for track in ids)
        locked_test_set.refuse_trained_on(tonight.locked, development, study=name)


def _free_name(ledger: Ledger, nightly: Nightly, night: date, tonight: NightData) -> str:
    """The name of the night's study, with a suffix where that name has other data or settings."""
    name = nightly.study(night)
    for n in range(2, 1000):
        wanted = study_fingerprint(tonight.resolved, tonight.prepared)
        if ledger.state(name) is None or ledger.fingerprint(name) == wanted:
            return name
        name = f"{nightly.study(night)}-{n}"
    raise UserError(f"the night of {night} was started too often; delete some of its studies")


def _figures(
    found: dict[str, Any],
    comparison: Comparison,
    tonight: NightData,
    drift: drift_check.DriftCheck,
    earlier: EarlierNights,
) -> dict[str, Any]:
    """The figures of a night for its record and its pages, JSON-ready."""
    decision = comparison.decision
    return {
        "candidate": comparison.candidate,
        "champion": comparison.champion,
        "difference": decision.difference,
        "lower": decision.lower,
        "p_value": decision.p_value,
        "n_tracks_needed": decision.n_tracks_needed,
        "latency_ms": comparison.latency_ms,
        "latency_wall_ms": comparison.latency_wall_ms,
        "size_mb": comparison.size_mb,
        "kind": found["ensemble"]["kind"],
        "members": found["ensemble"]["members"],
        "trials": {key: found["trials"][key] for key in ("complete", "pruned", "failed")},
        "cost": found["cost"],
        "validation": main_score_of(found["best_single"]["validation"]),
        "n_tracks": found["dataset"]["n_tracks"],
        "n_quarantined": found["dataset"]["n_quarantined"],
        "changes": tonight.difference.counts,
        "changes_said": tonight.difference.summary(),
        "sentinel": asdict(drift),
        "taught_by": [name for _, name in earlier.nights],
        "locked_since": tonight.locked.since,
    }
