"""Model compression (`chorale compress`), from a finished study to a small bundle, resumable.

Stages: teacher, search under a latency limit, students of every fold, the final student, pruning.
Then every variant's latency is measured, one is chosen by out-of-fold accuracy, and the test set is
evaluated once for all.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from rich.console import Console

from chorale.datasets.config import to_plain_values
from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import Split
from chorale.search.champion.compress.final_stage import (
    PRUNED,
    STUDENT,
    CompressionRequest,
    FinalStage,
)
from chorale.search.champion.compress.student import RECIPE, Students
from chorale.search.champion.compress.teacher import (
    Teacher,
    make_teacher,
    read_teacher,
    write_teacher,
)
from chorale.search.config.resolve import ResolvedSweep, for_labels, resolve
from chorale.search.config.schema import BudgetConfig
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import PreparedData, prepare, study_fingerprint
from chorale.search.evaluation.member_names import best_trial
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.stages import Job
from chorale.search.paths import StudyPaths
from chorale.search.sweep.context import SweepContext, session
from chorale.search.sweep.worker_pool import worker_pool
from chorale.search.training import latency


def student_name(name: str, target_ms: float) -> str:
    """The name of the student study of a study."""
    return f"{name}-student-{target_ms:g}ms"


def compress_ensemble(
    request: CompressionRequest, *, console: Console, take_over: bool = False
) -> dict[str, Any]:
    """Runs or resumes a compression; gives the content of `compress.json`.

    Keys: study, teacher (the study's name), target_ms, trials, chosen, bundle, test_looks,
    left_out (lines about variants that could not be made), fits (whether the chosen one keeps to
    the limit in wall time, too), variants (see `variants.variant_rows`).

    Raises:
        UserError, ClusterError: what the user can fix.
        KeyboardInterrupt: interrupted; the same call resumes it.
    """
    _refuse_without_networks(request)
    resolved = _student_sweep(request)
    sweep, progress = resolved.sweep, Progress(console)
    with Ledger(sweep.ledger_url) as ledger:
        if not take_over:
            ledger.refuse_leased(sweep.name)
        state = ledger.state(sweep.name)
        with worker_pool(sweep.cluster, runs=sweep.runs_folder.root) as pool:
            with pool.mapping() as run:
                prepared = prepare(resolved, progress, run)
            _refuse_other_split(request, prepared)
            _refuse_train_only(prepared.split)
            _refuse_slow_features(resolved, request.target_ms)
            teacher = _teacher(request, prepared, sweep.paths, progress)
            unchangeable = {
                **study_fingerprint(resolved, prepared),
                "teacher": teacher.digest,
                "target": request.target_ms,
                "recipe": RECIPE,
            }
            if state is None:
                ledger.create(sweep.name, unchangeable, about=sweep.about)
            else:
                _refuse_changed(ledger.fingerprint(sweep.name), unchangeable, request)
                ledger.reopen(sweep.name, unchangeable, about=sweep.about, take_over=take_over)
            context = SweepContext(
                resolved,
                prepared,
                ledger,
                pool,
                progress,
                spent_before_s=ledger.spent_s(sweep.name),
            )
            students = Students(context, teacher, limit_ms=request.target_ms)
            with session(context):
                number = students.find_student()
                made = {STUDENT: students.train_final(number)}
                left_out: list[str] = []
                try:
                    made[PRUNED] = students.prune(number)
                except UserError as error:
                    left_out.append(f"{PRUNED}: left out: {error}")
                found = FinalStage(request, students, prepared, progress, number, left_out).run(
                    made
                )
        return found


def _refuse_without_networks(request: CompressionRequest) -> None:
    """Refuses a study that had time for baselines only: there is no network to compress.

    Raises:
        UserError: it is such a study.
    """
    name = request.contents.sweep.name
    if best_trial(request.contents.report) is None:
        raise UserError(
            f"study '{name}' has no network to compress, as its time allowed baselines only; give "
            f"it more: chorale resume {name} --budget.minutes N"
        )


def _student_sweep(request: CompressionRequest) -> ResolvedSweep:
    """The student study's config: that of the study, warm-started from it, with its own budget.

    Raises:
        UserError: something that the study's sweep file names no longer exists.
    """
    sweep = request.contents.sweep
    sampler = "tpe" if sweep.search.sampler == "grid" else sweep.search.sampler
    search = replace(sweep.search, warm_start=(sweep.name,), second="none", sampler=sampler)
    student = replace(
        sweep,
        name=student_name(sweep.name, request.target_ms),
        search=search,
        budget=BudgetConfig(trials=request.trials, max_epochs=sweep.budget.max_epochs),
    )
    resolved = resolve(student, where=str(sweep.paths.sweep_yaml))
    return for_labels(resolved, multi_label=request.contents.truth.multi_label)


def _refuse_changed(
    before: Mapping[str, Any], now: Mapping[str, Any], request: CompressionRequest
) -> None:
    """Refuses to resume a student study that was started with other settings or data.

    Raises:
        UserError: names what differs.
    """
    now = json.loads(json.dumps(now))
    if changed := sorted(key for key in {*before, *now} if before.get(key) != now.get(key)):
        raise UserError(
            f"the student of study '{request.contents.sweep.name}' for {request.target_ms:g} ms "
            f"was started with another {', another '.join(changed)}; undo that change, or start "
            f"one with another limit: --target-ms {request.target_ms - 0.1:g}"
        )


def _refuse_train_only(split: Split) -> None:
    if split.train_only:
        raise UserError(
            f"compress: tracks of the split are only trained on ({len(split.train_only)}; "
            f"{split.protocol}), for which the teacher has no out-of-fold targets; compress a "
            f"study without split.time and labels.rare train_only"
        )


def _refuse_other_split(request: CompressionRequest, prepared: PreparedData) -> None:
    if prepared.split.hash != request.contents.truth.split.hash:
        name = request.contents.sweep.name
        raise UserError(
            f"the dataset is not the one that study '{name}' was run on: its split differs; "
            f"restore the old dataset, or start another study with --name {name}-2"
        )


def _refuse_slow_features(resolved: ResolvedSweep, target_ms: float) -> None:
    """Refuses a latency limit that the features alone exceed, before anything is trained.

    Raises:
        UserError: names the latency of the features.
    """
    takes = {
        name: latency.features_of_clip(name, json.dumps(to_plain_values(config))).latency_ms
        for name, config in resolved.features.items()
    }
    name = min(takes, key=lambda name: takes[name])
    if takes[name] > target_ms:
        raise UserError(
            f"no network can keep to {target_ms:g} ms: the features alone ({name}) take "
            f"{takes[name]:.1f} ms for {latency.CLIP_S:.0f} s of audio; raise the limit: "
            f"--target-ms {np.ceil(2 * takes[name]):g}"
        )


def _teacher(
    request: CompressionRequest, prepared: PreparedData, paths: StudyPaths, progress: Progress
) -> Teacher:
    kept = read_teacher(paths.teacher, prepared)
    if kept is not None:
        return kept
    contents = request.contents
    trials = [number for number in contents.members if isinstance(number, int)]
    if not trials:
        raise UserError(
            f"the chosen model of study '{contents.sweep.name}' is a baseline "
            f"({contents.members[0]}), which cannot be distilled; make an ensemble of its trials: "
            f"chorale ensemble {contents.sweep.name} --baselines none"
        )
    jobs: list[list[Job]] = [contents.jobs(number) for number in trials]
    teacher = make_teacher(
        contents.sweep.paths,
        prepared,
        jobs,
        on_progress=lambda line: progress.stage("teacher", line),
    )
    write_teacher(paths.teacher, teacher, prepared)
    return teacher
