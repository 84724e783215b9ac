"""`chorale compress`, from a finished study to a small bundle: stage after stage, each resumable.

Teacher, search under the limit, students of every fold, the whole one, pruning; then every variant
is timed, one is chosen by out-of-fold figures, and the test set is looked at once for all.
"""

import contextlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from datasets.atomic import write_json
from datasets.audio import AudioError
from datasets.errors import UserError
from search.base import Model, Proba
from search.calibration import calibrate
from search.champion.compress import latency
from search.champion.compress.card import headline, student_card
from search.champion.compress.graphs import Networks, graph_variants
from search.champion.compress.one import One, Sureness, sureness, write_one
from search.champion.compress.student import RECIPE, Said, Students
from search.champion.compress.teacher import Teacher, read_teacher, teach, write_teacher
from search.champion.compress.variants import Variant, choose, lines
from search.champion.pack import Packed, pack
from search.combine import Member, read_member
from search.config import Budget
from search.finalists import Job
from search.headline import read_headline
from search.paths import StudyPaths
from search.prepare import Prepared, fingerprint, prepare
from search.progress import Progress
from search.resolve import Resolved, resolve
from search.stage import Lessons
from search.store import Ledger, LedgerError
from search.truth import Truth, truth_of, write_truth
from search.workers import workers

ENSEMBLE, SINGLE, STUDENT, PRUNED = "ensemble", "best single", "student", "student, pruned"


@dataclass(frozen=True)
class Wanted:
    """What is asked for: the ensemble of which study, in how many milliseconds, after how many
    trials, as a bundle where.
    """

    packed: Packed
    target_ms: float
    trials: int
    to: Path | None = None


def student_name(name: str, target_ms: float) -> str:
    """What the student study of a study is called."""
    return f"{name}-student-{target_ms:g}ms"


def compress(wanted: Wanted, *, console: Console, take_over: bool = False) -> dict[str, Any]:
    """Does it, or goes on with it; gives what `compress.json` holds.

    Keys: study, teacher (the study's name), target_ms, trials, chosen, bundle, test_looks,
    left_out (lines about variants that are not there), fits (whether the chosen one keeps to the
    limit by the clock on the wall, too), variants (see `variants.lines`).

    Raises:
        UserError, ClusterError: what the user can mend.
        KeyboardInterrupt: interrupted; the same again goes on.
    """
    resolved = _student_sweep(wanted)
    sweep, progress = resolved.sweep, Progress(console)
    ledger = Ledger(sweep.ledger_url)
    try:
        if not take_over:
            ledger.refuse_held(sweep.name)
        state = ledger.state(sweep.name)
        with workers(sweep.cluster, runs=sweep.runs_folder.root) as crew:
            with crew.mapping() as run:
                prepared = prepare(resolved, progress, run)
            _refuse_other_split(wanted, prepared)
            _refuse_slow_features(resolved, wanted.target_ms)
            teacher = _teacher(wanted, prepared, sweep.paths, progress)
            unchanging = {
                **fingerprint(resolved, prepared),
                "teacher": teacher.digest,
                "target": wanted.target_ms,
                "recipe": RECIPE,
            }
            if state is None:
                ledger.create(sweep.name, unchanging, about=sweep.about)
            else:
                _refuse_changed(ledger.fingerprint(sweep.name), unchanging, wanted)
                ledger.reopen(sweep.name, unchanging, about=sweep.about, take_over=take_over)
            students = Students(
                resolved,
                prepared,
                ledger,
                crew,
                progress,
                was_complete=state == "complete",
                lessons=Lessons(),
                teacher=teacher,
                limit_ms=wanted.target_ms,
            )
            try:
                number = students.find()
                made = {STUDENT: students.whole(number)}
                left_out: list[str] = []
                try:
                    made[PRUNED] = students.pruned(number)
                except UserError as error:
                    left_out.append(f"{PRUNED}: left out: {error}")
                found = _Ending(wanted, students, prepared, progress, number, left_out).end(made)
            except BaseException:
                with contextlib.suppress(LedgerError):
                    ledger.leave(sweep.name, "interrupted", spent_s=students.elapsed_s())
                raise
            ledger.leave(sweep.name, "complete", spent_s=students.elapsed_s())
        return found
    finally:
        ledger.close()


@dataclass
class _Ending:
    """What comes after the training."""

    wanted: Wanted
    students: Students
    prepared: Prepared
    progress: Progress
    number: int
    left_out: list[str]

    def __post_init__(self) -> None:
        self.sweep = self.students.sweep
        self.truth: Truth = truth_of(self.prepared)
        ids = self.prepared.split.development_ids
        self.labels, self.groups = self.truth.labels(ids), self.truth.groups(ids)

    def end(self, made: Mapping[str, Said]) -> dict[str, Any]:
        """Times, chooses, looks, writes."""
        write_truth(self.sweep.paths, self.truth)
        write_json(self.sweep.paths.split_json, self.prepared.split.to_json())
        sure = {name: self._sureness(said.out_of_fold) for name, said in made.items()}
        with tempfile.TemporaryDirectory() as scratch:
            variants = self._earlier(Path(scratch))
            for name, said in made.items():
                variants.append(self._variant(name, said, sure[name], Path(scratch) / name))
                self._tell(variants[-1])
        chosen = choose(variants, self.labels, limit_ms=self.wanted.target_ms)
        if chosen is None:
            fastest = min(v.latency.processor_ms for v in variants)
            raise UserError(
                f"no variant keeps to {self.wanted.target_ms:g} ms now; the fastest took "
                f"{fastest:.1f} ms; type the same again when the machine is less busy, or give "
                f"more time: --target-ms {np.ceil(1.2 * fastest):g}"
            )
        base = chosen.name if chosen.name in made else STUDENT
        variants += self._graphs(made[base], base, sure[base])
        return self._look(variants, chosen, made, sure)

    def _sureness(self, out_of_fold: Proba) -> Sureness:
        return sureness(
            out_of_fold,
            self.labels,
            self.groups,
            coverage=self.sweep.ensemble.coverage,
            seed=self.sweep.search.seed,
        )

    def _tell(self, one: Variant) -> None:
        self.progress.stage("latency", f"{one.name}: {one.latency.processor_ms:.1f} ms")

    def _earlier(self, scratch: Path) -> list[Variant]:
        """The ensemble, and its best member."""
        packed = self.wanted.packed
        said = read_headline(packed.sweep.paths, self.truth)
        if said is None:
            raise UserError(
                f"study '{packed.sweep.name}' keeps nothing of what its ensemble said; make it "
                f"anew: chorale ensemble {packed.sweep.name}"
            )
        found = [self._timed(ENSEMBLE, packed, said.out_of_fold, said.test, scratch)]
        member = self._best_member()
        alone = self._single(member)
        one = self._timed(SINGLE, alone, member.out_of_fold, member.test, scratch)
        found.append(replace(one, can_be_chosen=True))
        return found

    def _best_member(self) -> Member:
        packed = self.wanted.packed
        single = packed.report["best_single"]["members"][0]
        paths, split = packed.sweep.paths, self.prepared.split
        return read_member(paths, split, single, packed.jobs(single))

    def _single(self, member: Member) -> Packed:
        """The best member as an ensemble of one, as sure as it alone may be."""
        packed = self.wanted.packed
        report, kinds = packed.report, dict(zip(packed.members, packed.architectures, strict=True))
        sure = self._sureness(member.out_of_fold)
        single = int(member.name)
        return replace(
            packed,
            report={
                **report,
                "ensemble": report["best_single"],
                "calibration": {**report["calibration"], "temperature": sure.temperature},
                "conformal": {**report["conformal"], "least_proba": sure.least_proba},
            },
            model=Model(np.ones(1)),
            members=(single,),
            architectures=(kinds.get(single, ""),),
        )

    def _timed(
        self, name: str, packed: Packed, out_of_fold: Proba, test: Proba, scratch: Path
    ) -> Variant:
        bundle = pack(packed, scratch / name)
        n = len(bundle.manifest.networks)
        found = Variant(
            name,
            out_of_fold,
            test,
            latency.of_bundle(scratch / name),
            _size_mb(scratch / name),
            f"{n} networks of {len(packed.members)} trial{'s' * (len(packed.members) > 1)}",
        )
        self._tell(found)
        return found

    def _variant(self, name: str, said: Said, sure: Sureness, to: Path) -> Variant:
        weights = self.students.weights(said.jobs[-1], pruned=name == PRUNED)
        write_one(to, One("student", weights, sure))
        what = f"{self.students.architecture(self.number)}, trial {self.number}"
        return Variant(
            name,
            said.out_of_fold,
            said.test,
            latency.of_bundle(to),
            _size_mb(to),
            what if name == STUDENT else f"{what}, half as wide",
            can_be_chosen=True,
        )

    def _graphs(self, said: Said, base: str, sure: Sureness) -> list[Variant]:
        """The ONNX graphs of the chosen student; none, and a line, where there cannot be any."""
        folders = [self.students.weights(job, pruned=base == PRUNED) for job in said.jobs]
        paths = self.sweep.paths
        try:
            return graph_variants(
                Networks(folders[:-1], folders[-1]),
                self.prepared,
                sure,
                calibrate(said.test, sure.temperature),
                to=(paths.graph(base.replace(", ", "-")), paths.graph("int8")),
                tell=partial(self.progress.stage, "graphs"),
            )
        except (UserError, AudioError) as error:
            self.left_out.append(f"ONNX: left out: {error}")
            return []

    def _look(
        self,
        variants: Sequence[Variant],
        chosen: Variant,
        made: Mapping[str, Said],
        sure: Mapping[str, Sureness],
    ) -> dict[str, Any]:
        """The one look at the test set, and what is kept of it."""
        split, sweep = self.prepared.split, self.sweep
        looks = self.students.ledger.look(sweep.name, split.hash)
        ids = split.test_ids
        found: dict[str, Any] = {
            "study": sweep.name,
            "teacher": self.wanted.packed.sweep.name,
            "target_ms": self.wanted.target_ms,
            "trials": self.wanted.trials,
            "chosen": chosen.name,
            "test_looks": looks,
            "left_out": self.left_out,
            "fits": chosen.latency.p50_ms <= self.wanted.target_ms,
            "variants": lines(
                variants,
                development=self.labels,
                test=self.truth.labels(ids),
                groups=self.truth.groups(ids),
                seed=sweep.search.seed,
            ),
        }
        to = self.wanted.to or sweep.paths.bundle.root
        if chosen.name in made:
            self._write_student(to, found, made[chosen.name], sure[chosen.name])
        else:
            pack(self._single(self._best_member()), to)
        found["bundle"] = str(to)
        write_json(sweep.paths.compress_json, found)
        return found

    def _write_student(
        self, to: Path, found: Mapping[str, Any], said: Said, sure: Sureness
    ) -> None:
        report = self.wanted.packed.report
        line = next(one for one in found["variants"] if one["variant"] == found["chosen"])
        about = {
            "headline": headline(found),
            "dataset": report["dataset"],
            "split": report["split"],
            "out_of_fold": {"accuracy": line["out_of_fold"]},
            "test": line["test"],
            "test_looks": found["test_looks"],
            "versions": report["versions"],
        }
        weights = self.students.weights(said.jobs[-1], pruned=found["chosen"] == PRUNED)
        text = student_card(found, self.wanted.packed)
        one = One("student", weights, sure, study=self.sweep.name, about=about, text=text)
        write_one(to, one)


def _student_sweep(wanted: Wanted) -> Resolved:
    """The student study's sweep: the study's own, warm-started from it, with a budget of its own.

    Raises:
        UserError: what the study's sweep names is no longer there.
    """
    sweep = wanted.packed.sweep
    sampler = "tpe" if sweep.search.sampler == "grid" else sweep.search.sampler
    search = replace(sweep.search, warm_start=(sweep.name,), second="none", sampler=sampler)
    student = replace(
        sweep,
        name=student_name(sweep.name, wanted.target_ms),
        search=search,
        budget=Budget(trials=wanted.trials, max_epochs=sweep.budget.max_epochs),
    )
    return resolve(student, where=str(sweep.paths.sweep_yaml))


def _refuse_changed(before: Mapping[str, Any], now: Mapping[str, Any], wanted: Wanted) -> None:
    """Refuses to go on with a student that was begun in another way.

    Raises:
        UserError: it was; says in what.
    """
    now = json.loads(json.dumps(now))
    if changed := sorted(key for key in {*before, *now} if before.get(key) != now.get(key)):
        raise UserError(
            f"the student of study '{wanted.packed.sweep.name}' for {wanted.target_ms:g} ms was "
            f"begun with another {', another '.join(changed)}; undo that, or begin one of another "
            f"limit: --target-ms {wanted.target_ms - 0.1:g}"
        )


def _refuse_other_split(wanted: Wanted, prepared: Prepared) -> None:
    if prepared.split.hash != wanted.packed.truth.split.hash:
        name = wanted.packed.sweep.name
        raise UserError(
            f"the dataset is not what study '{name}' was run on: it is split in another way; bring "
            f"the old one back, or start another study with --name {name}-2"
        )


def _refuse_slow_features(resolved: Resolved, target_ms: float) -> None:
    """Refuses a limit that the features alone break, before anything is spent.

    Raises:
        UserError: they do; says what they take.
    """
    takes = {name: latency.features_ms(name, config) for name, config in resolved.features.items()}
    name = min(takes, key=lambda name: takes[name])
    if takes[name] > target_ms:
        raise UserError(
            f"no network can keep to {target_ms:g} ms: the features alone ({name}) take "
            f"{takes[name]:.1f} ms for {latency.CLIP_S:.0f} s of sound; give more time: "
            f"--target-ms {np.ceil(2 * takes[name]):g}"
        )


def _teacher(wanted: Wanted, prepared: Prepared, paths: StudyPaths, progress: Progress) -> Teacher:
    kept = read_teacher(paths.teacher, prepared)
    if kept is not None:
        return kept
    packed = wanted.packed
    jobs: list[list[Job]] = [packed.jobs(number) for number in packed.members]
    teacher = teach(
        packed.sweep.paths, prepared, jobs, tell=lambda said: progress.stage("teacher", said)
    )
    write_teacher(paths.teacher, teacher, prepared)
    return teacher


def _size_mb(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
