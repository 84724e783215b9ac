"""The Python API: what it gives equals what the commands and the report say."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from chorale.datasets import catalog, encoders, features
from chorale.datasets.plugin_folders import VARIABLE
from chorale.lightning_models import architectures
from chorale.search import api, ensembles
from chorale.search.cli import main

NOTEBOOK = Path(__file__).with_name("first_steps.ipynb")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Iterator[api.Study]:
    """A study of three trials of `mlp`, made by the API."""
    root = tmp_path_factory.mktemp("api")
    settings = {
        "dataset": {"name": "folder", "root": str(corpus), "group": "(artist.)"},
        "name": "s",
        "features": {"stats57": {"sample_rate": 8000}},
        "architectures": ["mlp"],
        "search": {"pruner": "none"},
        "budget": {"trials": 3, "max_epochs": 3},
        "finalists": {"configs": 3, "folds": 2},
        "ensemble": {"kinds": ["soft_vote"], "baselines": "none"},
        "cluster": {"address": "none"},
        "runs": str(root / "runs"),
    }
    from chorale.search.baselines import baseline_plan, classifiers

    with pytest.MonkeyPatch.context() as patch:
        for module in (classifiers, baseline_plan):
            patch.setattr(module, "GRIDS", {"knn": {"statistics": ("mean_std",), "k": (3,)}})
        found = api.sweep(settings, {"budget.trials": 2}, quiet=True)
        assert found.status()["trials"]["complete"] == 2
        yield api.sweep(settings, quiet=True)  # it is resumed, with one more trial


def test_a_sweep_is_quiet_and_resumed(study: api.Study, capsys: pytest.CaptureFixture[str]) -> None:
    assert capsys.readouterr() == ("", "")
    status = study.status()
    assert status["state"] == "complete"
    assert status["trials"] == {"complete": 3, "pruned": 0, "failed": 0, "running": 0}
    assert [one.name for one in api.studies(study.runs)] == ["s"]


def test_trials_and_curves_are_those_of_the_leaderboard(
    study: api.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = study.leaderboard()
    assert main(["leaderboard", "s", "--json", "--runs", str(study.runs)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert frame["trial"].tolist() == [row["trial"] for row in printed]
    assert frame["validation_accuracy"].is_monotonic_decreasing
    best = int(frame["trial"][0])
    curves = study.curves(best)
    assert curves["epoch"].tolist() == [1, 2, 3]
    assert curves["accuracy"].max() == pytest.approx(frame["validation_accuracy"][0], rel=1e-5)
    with pytest.raises(api.UserError, match=r"no curves of trial 9; trials that have ended: 0, 1"):
        study.curves(9)


def test_scores_and_predictions_agree_with_the_report(study: api.Study) -> None:
    scores, report = study.scores(), study.report
    chosen = scores[scores["chosen"]]
    assert chosen.index.tolist() == [report["ensemble"]["kind"]]
    assert chosen["test_accuracy"].item() == report["ensemble"]["test"]["accuracy"]
    assert scores.loc["knn", "what"] == "baseline"
    assert (scores["test_low"] <= scores["test_accuracy"]).all()
    for part in ("test", "out_of_fold"):
        frame = study.predictions(part)
        names = list(report["dataset"]["labels"])
        assert frame.columns.tolist() == ["label", "group", *names]
        assert np.allclose(frame[names].sum(axis=1), 1)
        accuracy = (frame[names].idxmax(axis=1) == frame["label"]).mean()
        assert accuracy == pytest.approx(report["ensemble"][part]["accuracy"])
    shared = study.predictions("test").index.intersection(study.predictions("out_of_fold").index)
    assert shared.empty


def test_charts_are_specifications_that_a_notebook_draws(study: api.Study) -> None:
    charts = study.charts()
    assert {"history", "forest", "confusion_test", "curves"} <= set(charts)
    for one in charts.values():
        assert any(kind.startswith("application/vnd.vega") for kind in one._repr_mimebundle_())
    assert len(charts["history"].spec["layer"][2]["data"]["values"]) == len(study.leaderboard())


def test_a_model_predicts_for_arrays_and_files(
    study: api.Study, corpus: Path, tmp_path: Path
) -> None:
    model = study.export(tmp_path / "model")
    files = sorted(corpus.glob("*/*artist0-0.wav"))
    frame = model.predict_files(files)
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns.tolist() == ["label", "out_of_distribution", *model.labels]
    wave, rate = soundfile.read(files[0], dtype="float32")
    proba = model.predict(wave, rate).proba
    assert np.allclose(frame.loc[str(files[0]), list(model.labels)].astype(float), proba)
    assert model.labels[int(proba.argmax())] == frame["label"].iloc[0]


def test_its_robustness_is_measured_on_the_test_tracks(
    study: api.Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["robustness", study.name, "--runs", str(study.runs)]
    assert main([*words, "--conditions", "quiet, mp3_64", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    clean, quiet, mp3 = found["conditions"]
    assert (clean["name"], quiet["name"], mp3["name"]) == ("as_it_is", "quiet", "mp3_64")
    # equal but for rounding: the same networks predict the same recordings
    assert clean["scores"]["accuracy"] == study.report["ensemble"]["test"]["accuracy"]
    assert clean["scores"]["n"] == mp3["scores"]["n"] == study.report["ensemble"]["test"]["n"]
    assert mp3["ci95"][0] <= mp3["difference"] <= mp3["ci95"][1]
    page = tmp_path / "page.html"
    assert main([*words, "--conditions", "cut_1", "--html", str(page)]) == 0
    text = page.read_text()
    assert "Test accuracy under each condition, with 95 % intervals" in text
    assert "<th>the middle second</th>" in text
    shown = capsys.readouterr().out
    assert "the middle second" in shown
    assert "evaluations of this test set so far: 4" in shown, "two of the sweep, two of this test"
    assert main([*words, "--conditions", "quiet,mp3_46"]) == 1
    assert "unknown condition 'mp3_46'; did you mean 'mp3_64'" in capsys.readouterr().err


def test_what_is_missing_is_named_in_one_line(study: api.Study, tmp_path: Path) -> None:
    with pytest.raises(api.UserError, match=r"unknown study 'z'; choose from: s"):
        api.Study("z", study.runs).status()
    with pytest.raises(api.UserError, match=r"unknown study 'z'"):
        api.Study("z", study.runs).predictions()
    with pytest.raises(api.UserError, match=r"study 'z' has no report yet"):
        api.Study("z", study.runs).scores()
    with pytest.raises(api.UserError, match=r"there is no bundle in"):
        api.ExportedModel(tmp_path)
    with pytest.raises(api.UserError, match=r"the sweep's settings: "):
        api.sweep({"dataset": {"name": "folder", "root": "x"}, "buget": {}})


def test_the_notebook_runs_from_its_first_cell_to_its_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for package in (architectures, catalog, encoders, ensembles, features):
        monkeypatch.setattr(package, "__path__", list(package.__path__))
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {"TRIALS": 2, "EPOCHS": 1, "TRACKS": 60}
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    try:
        for number, text in enumerate(code):
            exec(compile(text, f"cell {number}", "exec"), names)
    finally:
        sys.modules.pop("chorale.lightning_models.architectures.wide_linear", None)
    assert isinstance(names["scores"], pd.DataFrame)
    assert names["wide_linear_trials"] == 1
