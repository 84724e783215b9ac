"""A study as an object: its trials, curves, scores and predictions as pandas, and its charts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from chorale.datasets.errors import UserError, unknown_name_error
from chorale.search.ledger.reader import LedgerReader, StudyInfo
from chorale.search.ledger.trials_summary import trials_summary
from chorale.search.paths import Runs, StudyPaths, folder_of

if TYPE_CHECKING:
    import pandas as pd

    from chorale.search.api.model import ExportedModel
    from chorale.search.ledger.ground_truth import GroundTruth
    from chorale.search.report.charts.chart import Chart
    from chorale.search.report.leaderboard import LeaderboardRow


@dataclass(frozen=True)
class Study:
    """A study by name, also while it runs; everything is read anew at each call.

    `runs` is the folder of all studies, `store` the ledger's URL where it is not in that folder.
    """

    name: str
    runs: str | Path = "runs"
    store: str | None = None

    @cached_property
    def paths(self) -> StudyPaths:
        """The study's files."""
        return _runs(self.runs).study(self.name)

    def open(self) -> LedgerReader:
        """The ledger, for reading; a context manager.

        Raises:
            UserError: there is none, or it cannot be read.
        """
        return LedgerReader(self.store or _runs(self.runs).ledger_url)

    def about(self) -> Mapping[str, Any]:
        """The study's dataset, objectives and budget, as far as the ledger has them.

        Raises:
            UserError: there is no such study.
        """
        with self.open() as ledger:
            return study_about(ledger.study(self.name), self.paths)

    def status(self) -> dict[str, Any]:
        """State, numbers of trials by final state, and the best one.

        Raises:
            UserError: there is no such study.
        """
        with self.open() as ledger:
            info, rows = ledger.study(self.name), ledger.rows(self.name, "search")
            found = trials_summary(rows, _objective(study_about(info, self.paths)))
            found["trials"]["running"] = ledger.n_running(self.name)
        return {"study": self.name, "state": info.state, **found}

    def leaderboard(self) -> "pd.DataFrame":
        """One row per trial, best first: scores, costs, the reason of a failure, parameters.

        Raises:
            UserError: there is no such study.
        """
        import pandas as pd

        return pd.DataFrame(self.leaderboard_rows())

    def leaderboard_rows(self) -> "list[LeaderboardRow]":
        """The rows of `leaderboard`, as `chorale leaderboard --json` prints them.

        Raises:
            UserError: there is no such study.
        """
        from chorale.search.report.leaderboard import leaderboard

        with self.open() as ledger:
            about = study_about(ledger.study(self.name), self.paths)
            rows, finals = ledger.rows(self.name, "search"), ledger.rows(self.name, "finalists")
        second = about.get("second") or "none"
        return leaderboard(rows, finals, objective=_objective(about), second=second)

    def curves(self, trial: int) -> "pd.DataFrame":
        """One row per epoch of a trial that has ended: losses, scores, learning rate.

        Raises:
            UserError: there is no such trial, or it has no curves.
        """
        import pandas as pd

        file = self.paths.trial(trial).metrics_csv
        if not file.is_file():
            with self.open() as ledger:
                ended = sorted(map(int, ledger.rows(self.name, "search")))
            raise UserError(
                f"study '{self.name}' has no curves of trial {trial}; trials that have ended: "
                f"{', '.join(map(str, ended)) or 'none'}"
            )
        return pd.read_csv(file)

    @property
    def report(self) -> dict[str, Any]:
        """The content of `report.json`.

        Raises:
            UserError: the study has none yet, or it is damaged.
        """
        try:
            found: dict[str, Any] = json.loads(self.paths.report_json.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"study '{self.name}' has no report yet ({error}); finish it first: chorale resume "
                f"{self.name}"
            ) from None
        return found

    def scores(self) -> "pd.DataFrame":
        """One row per ensemble and baseline: scores out of fold and on the test set.

        Columns like `test_accuracy`, `out_of_fold_log_loss`, and the ends of the 95 % interval of
        the test score, `test_low` and `test_high`; `chosen` marks the ensemble that is the result.

        Raises:
            UserError: the study has no report yet.
        """
        import pandas as pd

        report = self.report
        rows = []
        for what in ("ensembles", "baselines"):
            for name, one in report[what].items():
                row = {"name": name, "what": what.removesuffix("s")}
                row["chosen"] = what == "ensembles" and name == report["ensemble"]["kind"]
                for part in ("test", "out_of_fold"):
                    scores = {k: v for k, v in one[part].items() if isinstance(v, int | float)}
                    row |= {f"{part}_{key}": value for key, value in scores.items()}
                row["test_low"], row["test_high"] = one["test"]["ci95"]
                rows.append(row)
        return pd.DataFrame(rows).set_index("name")

    def predictions(self, part: Literal["test", "out_of_fold"] = "test") -> "pd.DataFrame":
        """The chosen ensemble's calibrated probabilities: one row per track, one column per class.

        The index is the track's id; `label` and `group` are the first columns. Where tracks have
        several labels, `label` lists them.

        Raises:
            UserError: the study has no predictions yet.
        """
        import pandas as pd

        from chorale.search.evaluation.chosen_predictions import read_chosen_predictions

        truth = self._truth()
        found = read_chosen_predictions(self.paths, truth)
        if found is None:
            raise self._unfinished("predictions")
        on_test = part == "test"
        ids = truth.split.test_ids if on_test else truth.split.development_ids
        proba = found.calibrated_test if on_test else found.calibrated_out_of_fold
        names = truth.class_names
        labels = [[names[label] for label in truth.classes_of(track)] for track in ids]
        head = {
            "label": labels if truth.multi_label else [one for (one,) in labels],
            "group": truth.groups(ids),
        }
        columns = {name: proba[:, i] for i, name in enumerate(names)}
        return pd.DataFrame({**head, **columns}, index=pd.Index(ids, name="track_id"))

    def charts(self) -> "Mapping[str, Chart]":
        """The charts of the report by name; a notebook shows them, and `spec` is in Vega-Lite.

        Raises:
            UserError: there is no such study.
        """
        from chorale.search.report.charts.chart import Chart
        from chorale.search.report.data.study_data import collect_study_data
        from chorale.search.report.page.figures import draw_figures

        report = self.report if self.paths.report_json.is_file() else None
        with self.open() as ledger:
            info = ledger.study(self.name)
            about = study_about(info, self.paths)
            data = collect_study_data(ledger, info, about, self.paths, report=report)
        drawn = vars(draw_figures(data))
        return {name: chart for name, chart in drawn.items() if isinstance(chart, Chart)}

    def export(self, to: str | Path) -> "ExportedModel":
        """Packs the ensemble of a finished study into a bundle, and opens it.

        Raises:
            UserError: it is not finished, or parts of it are missing.
        """
        from chorale.search.api.model import ExportedModel
        from chorale.search.champion.pack.pack import collect_contents, pack_bundle
        from chorale.search.config.schema import load_sweep_config

        if not self.paths.sweep_yaml.is_file():
            raise self._unfinished("model")
        values = {"name": self.name, "runs": str(self.runs), "store": self.store}
        sweep = load_sweep_config(str(self.paths.sweep_yaml), values)
        with self.open() as ledger:
            rows = ledger.rows(self.name, "search")
        kinds = {int(key): row.facts.get("architecture", "") for key, row in rows.items()}
        contents = collect_contents(sweep, self._truth(), self.report, kinds)
        return ExportedModel(pack_bundle(contents, Path(to)).paths.root)

    def model(self) -> "ExportedModel":
        """The study's ensemble, from the bundle in its own folder, which is packed anew.

        Raises:
            UserError: as `export`.
        """
        return self.export(self.paths.bundle.root)

    def _truth(self) -> "GroundTruth":
        from chorale.search.ledger.ground_truth import read_ground_truth

        found = read_ground_truth(self.paths)
        if found is None:
            raise self._unfinished("labels")
        return found

    def _unfinished(self, what: str) -> UserError:
        with self.open() as ledger:
            known = [one.name for one in ledger.all_studies()]
        if self.name not in known:
            return unknown_name_error("study", self.name, known)
        return UserError(
            f"study '{self.name}' has no {what} yet; finish it first: chorale resume {self.name}"
        )


def studies(runs: str | Path = "runs", *, store: str | None = None) -> list[Study]:
    """All studies, the newest first.

    Args:
        runs: the folder of all studies.
        store: the ledger's URL, where it is not in that folder.

    Raises:
        UserError: there is no ledger, or it cannot be read.
    """
    with LedgerReader(store or _runs(runs).ledger_url) as ledger:
        return [Study(one.name, runs, store) for one in ledger.all_studies()]


def study_about(info: StudyInfo, paths: StudyPaths) -> Mapping[str, Any]:
    """A study's metadata (`SweepConfig.about`); for an older ledger, from the sweep's file."""
    if info.about or not paths.sweep_yaml.is_file():
        return info.about
    from chorale.search.config.yaml_file import read_yaml

    try:
        sweep = read_yaml(paths.sweep_yaml)
    except UserError:
        return {}
    return {
        "dataset": (sweep.get("dataset") or {}).get("name"),
        "objective": (sweep.get("search") or {}).get("objective"),
        "budget": sweep.get("budget") or {},
    }


def _runs(runs: str | Path) -> Runs:
    return Runs(folder_of(str(runs)))


def _objective(about: Mapping[str, Any]) -> str:
    return about.get("objective") or "accuracy"
