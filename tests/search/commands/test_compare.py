"""`chorale compare` on the command line, on two real studies."""

import json
from pathlib import Path
from typing import Any

import pytest

from chorale.search.cli import main

SMALL = ["--budget.trials", "2", "--budget.max_epochs", "2", "--finalists.configs", "1"]
SMALL += ["--ensemble.kinds", "[soft_vote]", "--ensemble.baselines", "none"]
SMALL += ["--cluster.address", "none", "--architectures", "[cnn]"]


def test_two_studies_are_compared(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = ["--runs", str(tmp_path / "runs")]
    assert main(["sweep", *tiny, *SMALL, "--name", "a"]) == 0
    assert main(["compare", "a", "b", *runs]) == 1
    assert "unknown study 'b'; choose from: a" in capsys.readouterr().err
    assert main(["sweep", *tiny, *SMALL, "--name", "b", "--search.seed", "5"]) == 0
    capsys.readouterr()
    page = tmp_path / "both.html"
    assert main(["compare", "a", "b", *runs, "--html", str(page)]) == 0
    output = " ".join(capsys.readouterr().out.split())
    for text in (
        "common test tracks in",
        "search.seed 0 5",
        "Whoever chooses a study by this table chooses on test tracks",
        f"Read it in a browser: {page}",
    ):
        assert text in output
    assert page.read_text().startswith("<!doctype html>")
    assert main(["compare", "a", "b", *runs, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    reports = [json.loads((tmp_path / "runs" / name / "report.json").read_text()) for name in "ab"]
    assert found["same_split"]
    for one, report in zip(found["studies"], reports, strict=True):
        test = report["ensemble"]["test"]
        assert one["common"]["accuracy"] == one["test"]["accuracy"] == test["accuracy"]
        assert one["common"]["ci95"] == pytest.approx(test["ci95"])
    [pair] = found["pairs"]
    accuracies = [report["ensemble"]["test"]["accuracy"] for report in reports]
    assert pair["difference"] == pytest.approx(accuracies[0] - accuracies[1])
    assert len(found["best_so_far"]["a"]) == 2

    (tmp_path / "runs" / "b" / "headline.safetensors").unlink()
    assert main(["compare", "a", "b", *runs]) == 1
    assert "study 'b' lacks its ensemble's predictions" in capsys.readouterr().err
    (tmp_path / "runs" / "b" / "report.json").unlink()
    assert main(["compare", "a", "b", *runs]) == 1
    assert "study 'b' is complete and has no test score yet" in capsys.readouterr().err
