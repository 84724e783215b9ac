"""What a comparison reads of one finished study: its settings, trials, report and predictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chorale.datasets.errors import UserError
from chorale.search.config.yaml_file import read_yaml
from chorale.search.evaluation.chosen_predictions import read_chosen_predictions
from chorale.search.ledger.ground_truth import GroundTruth, read_ground_truth
from chorale.search.ledger.reader import LedgerReader, Row
from chorale.search.ledger.stages import SEARCH
from chorale.search.paths import StudyPaths
from chorale.search.report.report import read_report
from chorale.search.statistics.arrays import Proba

UNCOMPARED = ("name", "runs", "store", "cluster", "track")
"""Sections of a sweep that say where it runs, not what."""


@dataclass(frozen=True, eq=False)
class ScoredStudy:
    """A study whose ensemble was evaluated.

    `report` is the content of `report.json`; `settings` maps the dotted keys of its sweep file to
    their values; `rows` are the search's ended trials by number; `test` (n_test, n_classes) the
    chosen ensemble's probabilities in the order of `truth.split.test_ids`.
    """

    name: str
    report: Mapping[str, Any]
    settings: Mapping[str, Any]
    rows: Mapping[str, Row]
    truth: GroundTruth
    test: Proba

    @property
    def objective(self) -> str:
        """The metric that its search maximised."""
        return str(self.settings.get("search.objective") or "accuracy")


def read_scored_study(ledger: LedgerReader, name: str, paths: StudyPaths) -> ScoredStudy:
    """Reads a study; nothing is trained, and nothing is evaluated.

    Args:
        ledger: has its trials.
        name: its name.
        paths: its files.

    Raises:
        UserError: there is no study of that name, it was not evaluated yet, or its files are
            damaged or of a version that did not keep its predictions.
    """
    info = ledger.study(name)
    if not paths.report_json.is_file():
        raise UserError(
            f"study '{name}' is {info.state} and has no test score yet; type: chorale resume {name}"
        )
    truth = read_ground_truth(paths)
    chosen = None if truth is None else read_chosen_predictions(paths, truth)
    if truth is None or chosen is None:
        raise UserError(
            f"study '{name}' lacks its ensemble's predictions; type: chorale ensemble {name}"
        )
    report = read_report(paths)
    settings = _flat(read_yaml(paths.sweep_yaml)) if paths.sweep_yaml.is_file() else {}
    return ScoredStudy(name, report, settings, ledger.rows(name, SEARCH), truth, chosen.test)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"search": {"seed": 1}} -> {"search.seed": 1}, without what is not compared."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if not prefix and key in UNCOMPARED:
            continue
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
