"""The runs of a study as a tracker should hold them: read from the ledger and the study's folder.

One run is the study, and one each training run that has ended: trials of the search, and
retrainings of finalists on one fold. Nothing here depends on what a worker did last or on when it
is read: the same rows give the same content.
"""

import csv
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from chorale.cluster.versions import DISTRIBUTION, version_of
from chorale.datasets.errors import UserError
from chorale.search.ledger.reader import LedgerReader, Row, StudyInfo
from chorale.search.ledger.stages import FINALISTS, SEARCH, Job
from chorale.search.paths import StudyPaths, TrialPaths
from chorale.search.statistics.main_score import main_score_of, metric_name
from chorale.search.tracking.base import Artifact, Point, RunContent, RunState

STUDY_KEY = "study"
"""The key of the study's own run."""

STUDY_STATES = {
    "running": RunState.RUNNING,
    "complete": RunState.COMPLETE,
    "interrupted": RunState.STOPPED,
}
ROW_STATES = {
    "COMPLETE": RunState.COMPLETE,
    "PRUNED": RunState.STOPPED,
    "FAIL": RunState.FAILED,
}
SCORED = ("validation", "out_of_fold", "test")
"""The parts of a report's ensemble that have scores."""

ROW_METRICS = (
    "epoch", "n_epochs", "n_parameters", "latency_ms", "calibrated_log_loss", "elapsed_s",
)  # fmt: skip
"""Facts of a training run that are numbers for comparing runs."""


def study_id(info: StudyInfo) -> str:
    """The id of a study in every tracker: another one of the same name has another.

    It is made of the microsecond in which the study was created, so that it outlives a new name.
    """
    return hashlib.sha256(info.created_utc.encode()).hexdigest()[:20]


def row_key(stage: str, key: str) -> str:
    """The key of a training run among those of its study: "search/12", "finalists/4/0/1"."""
    return f"{stage}/{key}"


def study_content(ledger: LedgerReader, info: StudyInfo, paths: StudyPaths) -> RunContent:
    """The study's own run: its settings, and once it is complete its scores and its report.

    Raises:
        UserError: the ledger or the report cannot be read.
    """
    unchanging, about, report = ledger.fingerprint(info.name), info.about, _report(paths)
    search = unchanging.get("search", {})
    budget = {name: one for name, one in (about.get("budget") or {}).items() if one is not None}
    params = {
        "dataset": about.get("dataset"),
        "objective": about.get("objective"),
        **{name: search.get(name) for name in ("seed", "sampler", "pruner")},
        "max_epochs": unchanging.get("number of epochs"),
        **{f"budget.{name}": one for name, one in budget.items()},
    }
    tags = {
        "stage": STUDY_KEY,
        "state": info.state,
        "data_fingerprint": unchanging.get("dataset"),
        "split": unchanging.get("split"),
        "version": version_of(DISTRIBUTION),
        # parameters of a run never change in MLflow, but a resumed study may have another budget
        "budget": ", ".join(f"{name} {one}" for name, one in budget.items()),
        **_chosen(report),
    }
    state = STUDY_STATES[info.state]
    return RunContent(
        key=STUDY_KEY,
        name=info.name,
        state=state,
        started_ms=_created_ms(info),
        duration_ms=None if state is RunState.RUNNING else round(1000 * info.spent_s),
        params=_texts(params),
        tags=_texts(tags),
        points=_scores(report),
        artifacts=_artifacts(paths),
        commit=str(about.get("commit") or ""),
        note=_sentence(report),
    )


def row_content(
    row: Row,
    stage: str,
    *,
    info: StudyInfo,
    paths: StudyPaths,
    began_s: Mapping[int, float],
    searched: Mapping[str, Row],
) -> RunContent:
    """The run of a training run that has ended.

    Args:
        row: its row in the ledger.
        stage: `SEARCH` or `FINALISTS`.
        info: the study.
        paths: the study's files.
        began_s: when trials of the search were asked, in Unix seconds.
        searched: the rows of the search, with the parameters of finalists.
    """
    facts, files = row.facts, paths.trial(int(row.key)) if stage == SEARCH else None
    name, params = f"trial {row.key}", dict(facts.get("params", {}))
    if files is None:
        job = Job(*map(int, row.key.split("/")))
        files, name = paths.finalist(job.number, fold=job.fold, seed=job.seed), job.name
        of_trial = searched.get(str(job.number))
        params |= {} if of_trial is None else of_trial.facts.get("params", {})
        params |= {"trial": job.number, "fold": job.fold, "seed": job.seed}
    elif "features" in facts:
        params.setdefault("features", facts["features"])
    duration_ms = round(1000 * float(facts.get("elapsed_s") or facts.get("wall_s") or 0))
    curve, unreadable = _curve(files)
    tags = {
        "stage": stage,
        "state": row.state,
        "origin": facts.get("origin"),
        "reason": row.reason,
        "failure": facts.get("failure"),
        "curve": unreadable,
    }
    last = int(facts.get("epoch") or 0)
    final = {f"final/{metric}": value for metric, value in facts.get("metrics", {}).items()}
    final |= {metric: facts[metric] for metric in ROW_METRICS if facts.get(metric) is not None}
    began = began_s.get(int(row.key)) if stage == SEARCH else None
    return RunContent(
        key=row_key(stage, row.key),
        name=name,
        state=ROW_STATES.get(row.state, RunState.FAILED),
        started_ms=_began_ms(began, files, duration_ms, _created_ms(info)),
        duration_ms=duration_ms,
        params=_texts(params),
        tags=_texts(tags),
        points=_in_order([*curve, *_points(final, last)]),
    )


def stages_of(rows: Mapping[str, Mapping[str, Row]]) -> Iterable[tuple[str, Row]]:
    """(stage, row) of all rows, in the order of their numbers."""
    for stage in (SEARCH, FINALISTS):
        for row in sorted(rows[stage].values(), key=lambda row: [*map(int, row.key.split("/"))]):
            yield stage, row


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """As text, without those that are not known."""
    return {name: str(one) for name, one in values.items() if one not in (None, "")}


def _points(values: Mapping[str, Any], step: int) -> list[Point]:
    """Those of the values that are finite numbers; a tracker has no others."""
    return [
        Point(name, step, float(value))
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]


def _in_order(points: Iterable[Point]) -> tuple[Point, ...]:
    return tuple(sorted(points, key=lambda point: (point.step, point.metric)))


def _curve(files: TrialPaths) -> tuple[list[Point], str]:
    """The values of each epoch, and a text where the file is damaged; none where there is none."""
    points: list[Point] = []
    try:
        with files.metrics_csv.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                values = {name: float(text) for name, text in line.items()}
                points += _points(values, int(values.pop("epoch")))
        return points, ""
    except FileNotFoundError:
        return [], ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [], f"{files.metrics_csv.name} cannot be read ({type(error).__name__})"


def _began_ms(began_s: float | None, files: TrialPaths, duration_ms: int, created_ms: int) -> int:
    """When a training run began: as recorded, or by its last file, or else with the study."""
    if began_s is not None:
        return round(1000 * began_s)
    try:
        return max(round(1000 * files.metrics_csv.stat().st_mtime) - duration_ms, created_ms)
    except OSError:
        return created_ms


def _created_ms(info: StudyInfo) -> int:
    return round(1000 * datetime.fromisoformat(info.created_utc).timestamp())


def _report(paths: StudyPaths) -> Mapping[str, Any]:
    """The report of the study; empty where it has none yet."""
    try:
        found: dict[str, Any] = json.loads(paths.report_json.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(
            f"'{paths.report_json}' cannot be read ({error}); restore or delete it"
        ) from None
    return found


def _scores(report: Mapping[str, Any]) -> tuple[Point, ...]:
    """The scores of the chosen ensemble; the step is the number of trials that it was chosen of."""
    step = sum(report.get("trials", {}).get(name, 0) for name in ("complete", "pruned", "failed"))
    values: dict[str, Any] = {}
    for part in SCORED:
        scores = report.get("ensemble", {}).get(part, {})
        values |= {f"{part}/{name}": one for name, one in scores.items() if name != "few_groups"}
        if "ci95" in scores:
            values[f"{part}/ci95_low"], values[f"{part}/ci95_high"] = scores["ci95"]
    expected = report.get("expected") or {}
    if expected:
        values[f"expected/{metric_name(expected)}"] = main_score_of(expected)
    return _in_order(_points(values, step))


def _chosen(report: Mapping[str, Any]) -> dict[str, str]:
    ensemble = report.get("ensemble")
    if not ensemble:
        return {}
    members = ", ".join(map(str, ensemble.get("members", ())))
    return {"ensemble": ensemble["kind"], "members": members}


def _sentence(report: Mapping[str, Any]) -> str:
    """The result in a sentence; empty where there is none yet."""
    test = report.get("ensemble", {}).get("test")
    if not test:
        return ""
    low, high = test["ci95"]
    return (
        f"Test {metric_name(test)} {main_score_of(test):.1%} (95 % CI {low:.1%} to {high:.1%}) on "
        f"{test['n']} held-out tracks, {report['ensemble']['kind']}."
    )


def _artifacts(paths: StudyPaths) -> dict[str, Artifact]:
    """The study's settings and reports, and its bundle where one was packed."""
    files = (paths.sweep_yaml, paths.leaderboard_csv, paths.report_json, paths.report_html)
    found = {path.name: Artifact(path, _hash(path)) for path in files if path.is_file()}
    manifest = paths.bundle.manifest
    if manifest.is_file():  # it has the hash of every other file
        found[paths.bundle.root.name] = Artifact(paths.bundle.root, _hash(manifest))
    return found


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]
