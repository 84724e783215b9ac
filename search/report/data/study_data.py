"""The data behind a study's report in one frozen value, read from the ledger and the study's files.

Nothing is trained and no test row is scored here: the predictions on the test set are those that
were stored when it was evaluated.
"""

import csv
import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chorale.datasets.errors import UserError
from chorale.lightning_models.multi_label_metrics import main_score
from chorale.search.config.yaml_file import read_yaml
from chorale.search.evaluation.chosen_predictions import ChosenPredictions, read_chosen_predictions
from chorale.search.ledger import stages
from chorale.search.ledger.ground_truth import GroundTruth, read_ground_truth
from chorale.search.ledger.reader import LedgerReader, Row, StudyInfo
from chorale.search.paths import StudyPaths
from chorale.search.report.data.architectures import ArchitectureSummary, architecture_summaries
from chorale.search.report.data.audio import AudioLink, audio_link, read_audio_paths
from chorale.search.report.data.error_analysis import ErrorAnalysis, error_analysis
from chorale.search.report.data.hardest import HardLabelTrack, HardTrack, hardest_tracks
from chorale.search.report.data.importance import Importance, hyperparameter_importance
from chorale.search.report.data.trials import TrialSummary, trial_summaries
from chorale.search.statistics.main_score import main_score_of, metric_name

ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz")


@dataclass(frozen=True)
class StudyData:
    """One study.

    `report` is the content of `report.json`, None before the first evaluation; `is_stale` is true
    if trials were added since. `log_params` are the parameters with a logarithmic range, `busy_s`
    maps a stage to the seconds of all its training runs, `resolved_config` is the text of the
    resolved sweep file, `is_archive` is true if the dataset was an archive file. `missing` maps the
    name of a missing part ("errors", "hardest", "audio", "audit") to a sentence with the reason.
    `multi_label`: tracks have several labels.
    """

    info: StudyInfo
    about: Mapping[str, Any]
    report: Mapping[str, Any] | None
    is_stale: bool
    trials: tuple[TrialSummary, ...]
    n_running: int
    architectures: tuple[ArchitectureSummary, ...]
    failures: tuple[tuple[str, int], ...]
    importance: Importance
    log_params: frozenset[str]
    errors: ErrorAnalysis | None
    hardest: tuple[tuple[HardTrack | HardLabelTrack, AudioLink | None], ...]
    problems: tuple[Mapping[str, str], ...]
    busy_s: Mapping[str, float]
    command: str
    resolved_config: str
    is_archive: bool
    missing: Mapping[str, str] = field(default_factory=dict)
    multi_label: bool = False

    @property
    def metric(self) -> str:
        """The score by which models are compared: "accuracy" or "mAP"."""
        return "mAP" if self.multi_label else "accuracy"

    @property
    def objective(self) -> str:
        """The metric that is maximised."""
        return str(self.about.get("objective") or "accuracy")

    @property
    def second(self) -> str:
        """The second objective, which is minimised, or "none"."""
        return str(self.about.get("second") or "none")


def collect_study_data(
    ledger: LedgerReader,
    info: StudyInfo,
    about: Mapping[str, Any],
    paths: StudyPaths,
    *,
    report: Mapping[str, Any] | None,
) -> StudyData:
    """Reads everything; a part that cannot be read is listed in `missing` with the reason.

    Args:
        ledger: has the trials.
        info: the study's row in the ledger.
        about: its dataset, objectives and budget.
        paths: its files.
        report: the content of `report.json`, if there is one.
    """
    name = info.name
    objective = str(about.get("objective") or "accuracy")
    rows, finals = ledger.rows(name, stages.SEARCH), ledger.rows(name, stages.FINALISTS)
    trials = trial_summaries(
        ledger, name, paths, objective=objective, second=str(about.get("second") or "none")
    )
    ranges = ledger.distributions(name)
    missing: dict[str, str] = {}
    truth = _truth(paths, missing)
    reasons = Counter(row.reason for row in rows.values() if row.state == "FAIL")
    return StudyData(
        info=info,
        about=about,
        report=report,
        is_stale=report is not None and _n_trials(report, len(rows)) != len(rows),
        trials=trials,
        n_running=ledger.n_running(name),
        architectures=architecture_summaries(trials),
        failures=tuple(reasons.most_common()),
        importance=hyperparameter_importance(rows, ranges, objective=objective),
        log_params=frozenset(name for name, text in ranges.items() if _is_log(text)),
        errors=_errors(paths, truth, report, missing),
        hardest=_hardest(paths, truth, finals, missing, seed=int((report or {}).get("seed", 0))),
        problems=_problems(paths, missing),
        busy_s={
            "search": _busy_s(rows),
            "finalists": _busy_s(finals),
            "lost attempts": _busy_s(ledger.rows(name, stages.ATTEMPTS)),
        },
        command=shlex.join(["chorale", "sweep", str(paths.sweep_yaml), "--name", f"{name}-again"]),
        resolved_config=_text(paths.sweep_yaml),
        is_archive=_is_archive(paths.sweep_yaml),
        missing=missing,
        multi_label=truth.multi_label if truth else objective in ("mAP", "lwlrap"),
    )


def _n_trials(report: Mapping[str, Any], n: int) -> int:
    """The number of trials in a report; `n` for a report without counts."""
    counts = report.get("trials")
    return n if counts is None else sum(counts[k] for k in ("complete", "pruned", "failed"))


def _truth(paths: StudyPaths, missing: dict[str, str]) -> GroundTruth | None:
    try:
        truth = read_ground_truth(paths)
    except UserError as error:
        missing["errors"] = missing["hardest"] = f"Not available: {error}."
        return None
    if truth is None:
        missing["errors"] = missing["hardest"] = (
            "Not available: the study has not stored the labels of its tracks yet."
        )
    return truth


def _errors(
    paths: StudyPaths,
    truth: GroundTruth | None,
    report: Mapping[str, Any] | None,
    missing: dict[str, str],
) -> ErrorAnalysis | None:
    if report is None or "ensemble" not in report:
        missing["errors"] = "No ensemble has been scored yet."
        return None
    if truth is None:
        return None
    again = f"chorale ensemble {shlex.quote(paths.root.name)}"
    try:
        predictions = read_chosen_predictions(paths, truth)
    except UserError as error:
        missing["errors"] = f"Not available: {error}."
        return None
    if predictions is None or not _match(predictions, truth, report):
        missing["errors"] = (
            f"The ensemble's predictions were not stored: an older version scored this study. "
            f"`{again}` computes them again; that counts as another evaluation on the test set."
        )
        return None
    return error_analysis(predictions, truth, report)


def _match(predictions: ChosenPredictions, truth: GroundTruth, report: Mapping[str, Any]) -> bool:
    """Whether these predictions have the report's test accuracy or mAP."""
    labels, test = truth.labels(truth.split.test_ids), report["ensemble"]["test"]
    if metric_name(test) != ("mAP" if truth.multi_label else "accuracy"):
        return False
    return abs(main_score(predictions.test, labels) - main_score_of(test)) < 0.5 / len(labels)


def _hardest(
    paths: StudyPaths,
    truth: GroundTruth | None,
    finals: Mapping[str, Row],
    missing: dict[str, str],
    *,
    seed: int,
) -> tuple[tuple[HardTrack | HardLabelTrack, AudioLink | None], ...]:
    if truth is None:
        return ()
    try:
        tracks = hardest_tracks(paths, truth, finals, seed=seed)
    except UserError as error:
        missing["hardest"] = f"Not available: {error}."
        return ()
    files = read_audio_paths(paths.audio_json)
    runs = paths.root.parent
    linked = [
        (one, audio_link((files or {}).get(one.track), page=paths.report_html, runs=runs))
        for one in tracks
    ]
    if tracks and not any(audio for _, audio in linked):
        missing["audio"] = _why_no_audio(files, [one.track for one in tracks])
    return tuple(linked)


def _why_no_audio(files: Mapping[str, Path] | None, tracks: Sequence[str]) -> str:
    if files is None:
        return "No audio players: the study has no list of audio files."
    known = [files[track] for track in tracks if track in files]
    if not known:
        return "No audio players: the dataset is a table of features, without audio."
    if any(path.is_file() for path in known):
        return "No audio players: the dataset's files are not audio."
    return f"No audio players: the audio is not on this machine ({known[0].parent})."


def _problems(paths: StudyPaths, missing: dict[str, str]) -> tuple[Mapping[str, str], ...]:
    """The findings of the audit, which writes no file if there are none."""
    if not paths.split_json.is_file():
        missing["audit"] = (
            f"The audit's findings are not available: {paths.root} does not hold the study's files."
        )
        return ()
    try:
        with paths.problems_csv.open(encoding="utf-8", newline="") as file:
            return tuple(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return ()


def _busy_s(rows: Mapping[str, Row]) -> float:
    each = (row.facts.get("elapsed_s", row.facts.get("wall_s", 0.0)) for row in rows.values())
    return float(sum(each))


def _is_log(distribution: str) -> bool:
    return bool(json.loads(distribution).get("attributes", {}).get("log"))


def _is_archive(sweep_yaml: Path) -> bool:
    try:
        dataset = read_yaml(sweep_yaml).get("dataset")
    except (OSError, UserError):
        return False
    values = dataset.values() if isinstance(dataset, dict) else ()
    return any(isinstance(v, str) and v.lower().endswith(ARCHIVE_SUFFIXES) for v in values)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
