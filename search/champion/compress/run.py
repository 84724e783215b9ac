"""`chorale compress`, from a finished study to a small bundle: stage after stage, each resumable.

Teacher, search under the limit, students of every fold, the whole one, pruning; then every variant
is timed, one is chosen by out-of-fold figures, and the test set is looked at once for all.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console

from chorale.datasets.errors import UserError
from chorale.search.champion.compress.ending import PRUNED, STUDENT, Ending, Wanted
from chorale.search.champion.compress.student import RECIPE, Students
from chorale.search.champion.compress.teacher import Teacher, read_teacher, teach, write_teacher
from chorale.search.config.resolve import Resolved, resolve
from chorale.search.config.schema import Budget
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import Prepared, fingerprint, prepare
from chorale.search.ledger.ledger import Ledger, LedgerError
from chorale.search.ledger.stages import Job
from chorale.search.paths import StudyPaths
from chorale.search.sweep.stage import Lessons
from chorale.search.sweep.workers import workers
from chorale.search.training import latency


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
                found = Ending(wanted, students, prepared, progress, number, left_out).end(made)
            except BaseException:
                with contextlib.suppress(LedgerError):
                    ledger.leave(sweep.name, "interrupted", spent_s=students.elapsed_s())
                raise
            ledger.leave(sweep.name, "complete", spent_s=students.elapsed_s())
        return found
    finally:
        ledger.close()


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
    trials = [number for number in packed.members if isinstance(number, int)]
    if not trials:
        raise UserError(
            f"the answer of study '{packed.sweep.name}' is a baseline ({packed.members[0]}), from "
            f"which no student learns; make an ensemble of its trials: chorale ensemble "
            f"{packed.sweep.name} --baselines none"
        )
    jobs: list[list[Job]] = [packed.jobs(number) for number in trials]
    teacher = teach(
        packed.sweep.paths, prepared, jobs, tell=lambda said: progress.stage("teacher", said)
    )
    write_teacher(paths.teacher, teacher, prepared)
    return teacher
