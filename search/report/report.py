"""The report of a study: leaderboard.csv, report.json and report.html.

`report.json` is a contract; `write_report` lists its keys. `update_report` rebuilds the page at any
time from the ledger, the prediction bank and the study's files.
"""

import json
import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from chorale.cluster.versions import DISTRIBUTION, versions_of
from chorale.datasets.atomic import write_json, write_text
from chorale.datasets.errors import UserError
from chorale.datasets.splitting.grouping import UNGROUPED_TEXT
from chorale.search.evaluation.member_names import best_trial, name_ensemble
from chorale.search.ledger import stages
from chorale.search.ledger.reader import LedgerReader, Row, StudyInfo
from chorale.search.paths import StudyPaths
from chorale.search.report.data.audio import write_audio_paths
from chorale.search.report.data.study_data import StudyData, collect_study_data
from chorale.search.report.leaderboard import leaderboard, to_csv
from chorale.search.report.page.numbers import percent
from chorale.search.report.page.page import render_page
from chorale.search.report.page.sentences import unscored_summary
from chorale.search.statistics.main_score import main_score_of, metric_name

if TYPE_CHECKING:
    from chorale.search.config.resolve import ResolvedSweep
    from chorale.search.data.prepare import PreparedData
    from chorale.search.evaluation.final_evaluation import FinalEvaluation
    from chorale.search.ledger.ledger import Ledger

DERIVED_KEYS = (
    "architectures", "importance", "confusion", "confusion_totals", "reliability", "hardest",
    "audit", "command",
)  # fmt: skip
"""Keys of `report.json` that `update_report` recomputes."""

REPORTED_PACKAGES = (
    DISTRIBUTION, "torch", "torchaudio", "pytorch-lightning", "ray", "optuna", "numpy",
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Wall time of a sweep and of its stages, and each training run's resources.

    Times are in seconds.
    """

    wall_s: float
    cpus_per_trial: float
    gpus_per_trial: float
    trials_at_once: int
    stages_s: Mapping[str, float] = field(default_factory=dict)


def write_report(
    resolved: "ResolvedSweep",
    prepared: "PreparedData",
    ledger: "Ledger",
    evaluation: "FinalEvaluation",
    cost: Cost,
) -> None:
    """Writes `leaderboard.csv`, `report.json` and the list of audio paths, without the page.

    Keys: study, dataset, split, trials, best_single, ensemble, ensembles, baselines, gains,
    baselines_made, optimism, test_looks, cautions, selection, calibration, conformal, per_class,
    expected, seeds (those of each finalist's retrainings, by its number), comparisons, cost,
    versions, seed; `update_report` adds those of `derived_values`.
    """
    sweep = resolved.sweep
    lost = ledger.rows(sweep.name, stages.ATTEMPTS)
    rows = ledger.rows(sweep.name, stages.SEARCH)
    finals = ledger.rows(sweep.name, stages.FINALISTS)
    lines = leaderboard(rows, finals, objective=sweep.search.objective, second=sweep.search.second)
    write_text(sweep.paths.leaderboard_csv, to_csv(lines))
    report = {
        "study": sweep.name,
        "dataset": {
            "name": resolved.dataset.INFO.name,
            "fingerprint": prepared.fingerprint,
            "n_tracks": len(prepared.tracks),
            "n_quarantined": len(prepared.problems),
            "n_groups": int(prepared.tracks["group"].nunique()),
            "labels": list(prepared.class_names),
            "label_changes": prepared.label_changes.as_json(),
        },
        "split": {
            "protocol": prepared.split.protocol,
            "hash": prepared.split.hash,
            "n_development": len(prepared.split.development_ids),
            "n_train_only": len(prepared.split.train_only),
            "n_test": len(prepared.split.test_ids),
            "n_folds": prepared.split.n_folds,
        },
        "trials": _trial_counts(rows),
        **evaluation.as_report(),
        "cost": _cost_summary([*rows.values(), *finals.values(), *lost.values()], len(rows), cost),
        "versions": {"python": platform.python_version(), **versions_of(REPORTED_PACKAGES)},
        "seed": sweep.search.seed,
    }
    write_json(sweep.paths.report_json, report)
    write_audio_paths(sweep.paths.audio_json, prepared.tracks)


def update_report(
    ledger: LedgerReader, info: StudyInfo, about: Mapping[str, Any], paths: StudyPaths
) -> StudyData:
    """Writes `report.html` from the study's current state, without evaluating the test set.

    The keys of `derived_values` are also written to `report.json`, unless the study is unfinished,
    has run more trials since the report, or has no `report.json`.

    Raises:
        UserError: `report.json` is damaged.
    """
    report = read_report(paths) if paths.report_json.is_file() else None
    study = collect_study_data(ledger, info, about, paths, report=report)
    if report is not None and info.state == "complete" and not study.is_stale:
        write_json(paths.report_json, {**report, **derived_values(study)})
    write_text(paths.report_html, render_page(study, summary=summary_sentence(study)))
    return study


def derived_values(study: StudyData) -> dict[str, Any]:
    """The `DERIVED_KEYS` of `report.json`, from the ledger, the prediction bank and files.

    `architectures` (each with n_done, n_pruned, n_failed, best, median, middle: the interquartile
    range), `importance` (shares that sum to 1, or why_not), `confusion` (counts by "test" and
    "out-of-fold", rows are true classes; of several labels with `confusion_totals`: see
    `search.statistics.label_confusion`), `reliability` (bins before and after temperature scaling),
    `hardest` (development tracks that most finalists misclassify; of several labels, those of the
    highest log loss), `audit` (number of findings by problem), `command` (repeats the study).
    """
    derived: dict[str, Any] = {
        "architectures": [asdict(one) for one in study.architectures],
        "importance": asdict(study.importance),
        "hardest": [one.as_json() for one, _ in study.hardest],
        "audit": dict(Counter(one.get("problem", "") for one in study.problems)),
        "command": study.command,
    }
    if study.errors is not None:
        derived["confusion"] = {name: list(map(list, m)) for name, m in study.errors.counts.items()}
        if (totals := study.errors.totals) is not None:
            derived["confusion_totals"] = {name: list(map(list, m)) for name, m in totals.items()}
        derived["reliability"] = [asdict(one) for one in study.errors.reliability]
    return derived


def summary_sentence(study: StudyData) -> str:
    """The first sentence of the page: the test accuracy or mAP, or that there is none yet."""
    if study.report is None or "ensemble" not in study.report:
        return unscored_summary(study)
    return headline_sentence(study.report)


def read_report(paths: StudyPaths) -> dict[str, Any]:
    """The `report.json` of a finished study.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        report: dict[str, Any] = json.loads(paths.report_json.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"the report of this finished study cannot be read ({error}); restore "
            f"{paths.report_json}, or raise --budget.trials to make a new one"
        ) from None
    if "foretold" in report:  # the key's name in older versions
        report.setdefault("expected", report.pop("foretold"))
    return report


def headline_sentence(report: Mapping[str, Any]) -> str:
    """Test accuracy (or mAP) with its 95 % interval, beside the figures to compare it with."""
    ensemble, single = report["ensemble"], best_trial(report)
    test = ensemble["test"]
    metric = metric_name(test)
    low, high = test["ci95"]
    rivals = {name: main_score_of(one["test"]) for name, one in report["baselines"].items()}
    best = max(rivals, key=lambda name: rivals[name]) if rivals else None
    trial = f"; best single trial {percent(main_score_of(single['test']))}" if single else ""
    baseline = "" if best is None else f", best baseline ({best}) {percent(rivals[best])}"
    expected = report.get("expected")  # missing in studies of older versions
    forecast = (
        "" if expected is None else f", expected test {metric} {percent(main_score_of(expected))}"
    )
    looks = report["test_looks"]
    sentence = (
        f"Test {metric} {percent(main_score_of(test))} "
        f"(95 % CI {100 * low:.1f} to {100 * high:.1f}) on {test['n']} held-out tracks, "
        f"{name_ensemble(ensemble)}{trial}{baseline}. "
        f"Validation {metric} {percent(main_score_of(ensemble['validation']))}{forecast}. "
        f"The test set has been evaluated {'once' if looks == 1 else f'{looks} times'}."
    )
    if UNGROUPED_TEXT in report.get("split", {}).get("protocol", ""):
        sentence = (
            f"Split by {UNGROUPED_TEXT}: tracks of one artist may be on both sides of the split, "
            f"so every {metric} may be too high. {sentence}"
        )
    if test["few_groups"]:
        n_groups = test["n_groups"]
        groups = "1 group" if n_groups == 1 else f"{n_groups} groups"
        sentence += f" The test set has only {groups}, so the interval is wide."
    return sentence


def _trial_counts(rows: Mapping[str, Row]) -> dict[str, Any]:
    states = Counter(row.state for row in rows.values())
    each: dict[str, Counter[str]] = {}
    for row in rows.values():
        each.setdefault(row.facts.get("architecture", "unknown"), Counter())[row.state] += 1
    return {
        "complete": states["COMPLETE"],
        "pruned": states["PRUNED"],
        "failed": states["FAIL"],
        "per_architecture": {
            name: {"complete": c["COMPLETE"], "pruned": c["PRUNED"], "failed": c["FAIL"]}
            for name, c in sorted(each.items())
        },
    }


def _cost_summary(rows: list[Row], n_trials: int, cost: Cost) -> dict[str, Any]:
    busy_s = sum(map(_busy_s, rows))
    return {
        "wall_s": cost.wall_s,
        "core_s": busy_s * cost.cpus_per_trial,
        "gpu_s": sum(_busy_s(row) * row.facts.get("gpus", cost.gpus_per_trial) for row in rows),
        "trials_per_hour": n_trials / cost.wall_s * 3600,
        "cpus_per_trial": cost.cpus_per_trial,
        "gpus_per_trial": cost.gpus_per_trial,
        "trials_at_once": cost.trials_at_once,
        "stages_s": dict(cost.stages_s),
    }


def _busy_s(row: Row) -> float:
    return float(row.facts.get("elapsed_s", row.facts.get("wall_s", 0.0)))
