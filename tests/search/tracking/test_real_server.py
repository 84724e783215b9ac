"""Against a real MLflow server: what the fake one assumes is so."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests

from chorale.search.config.track_config import TrackConfig
from chorale.search.tracking.base import Artifact
from chorale.search.tracking.content import study_id
from chorale.search.tracking.sync import Written, open_tracker
from tests.search.tracking.conftest import NAME, MadeUpStudy
from tests.search.tracking.mlflow_server import mlflow_program, mlflow_server
from tests.search.tracking.test_sync import sync


@pytest.mark.slow
def test_a_real_server_holds_the_ledger_exactly_once(study: MadeUpStudy, tmp_path: Path) -> None:
    program = mlflow_program()
    if program is None:
        pytest.skip(
            "the program mlflow is not installed (pip install mlflow, in a venv of its own)"
        )
    study.end("search", "0", "COMPLETE", curve=[0.25, 0.5], params={"a b/c": "x" * 600})
    study.end("search", "1", "PRUNED", curve=[0.5, 0.25], reason="out of time")
    study.end("search", "2", "FAIL", reason="lost ü")
    study.report({"accuracy": 1 / 3})
    folder = tmp_path / "server"
    folder.mkdir()
    with mlflow_server(program, folder) as address:
        assert sync(study, uri=address) == Written(created=4)
        assert sync(study, uri=address) == Written(unchanged=4)
        study.end("search", "1", "COMPLETE", curve=[0.5, 0.25, 0.75])
        study.complete()
        assert sync(study, uri=address) == Written(updated=2, unchanged=2)
        assert sync(study, uri=address, experiment="other ü") == Written(created=4)

        def ask(path: str, **query: str) -> Any:
            return requests.get(f"{address}/api/2.0/mlflow/{path}", params=query, timeout=60).json()

        number = ask("experiments/get-by-name", experiment_name="chorale")["experiment"]
        body = {"experiment_ids": [number["experiment_id"]]}
        found = requests.post(f"{address}/api/2.0/mlflow/runs/search", json=body, timeout=60).json()
        runs = {
            next(tag["value"] for tag in run["data"]["tags"] if tag["key"] == "chorale.key"): run
            for run in found["runs"]
        }
        assert len(found["runs"]) == 4
        assert Counter(run["info"]["status"] for run in runs.values()) == {
            "FINISHED": 3,
            "FAILED": 1,
        }
        run_id = runs["search/1"]["info"]["run_id"]
        history = ask("metrics/get-history", run_id=run_id, metric_key="accuracy")["metrics"]
        assert sorted((one["step"], one["value"]) for one in history) == [
            (1, 0.5),
            (2, 0.25),
            (3, 0.75),
        ]
        parent = runs["study"]["info"]["run_id"]
        files = ask("artifacts/list", run_id=parent)["files"]
        assert {one["path"] for one in files} == {"report.html", "report.json"}
        third = {one["key"]: one["value"] for one in runs["study"]["data"]["metrics"]}
        assert third["test/accuracy"] == 1 / 3
        _check_models(study, address, tmp_path)


def _check_models(study: MadeUpStudy, address: str, tmp_path: Path) -> None:
    """Two bundles are two versions, whose aliases move."""
    tracker = open_tracker(TrackConfig(uri=address))
    number, bundles = study_id(study.ledger.study(NAME)), []
    for name in ("first", "second"):
        (tmp_path / name / "networks").mkdir(parents=True)
        (tmp_path / name / "networks" / "a.bin").write_bytes(name.encode())
        bundles.append(Artifact(tmp_path / name, f"{name}-digest"))
    for bundle, aliases, version in (
        (bundles[0], ["champion"], "1"),
        (bundles[1], ["champion", "challenger"], "2"),
        (bundles[0], ["champion"], "1"),
    ):
        assert tracker.register("genres", number, bundle, aliases) == version
    tracker.close()
    for alias, version in (("champion", "1"), ("challenger", "2")):
        found = requests.get(
            f"{address}/api/2.0/mlflow/registered-models/alias",
            params={"name": "genres", "alias": alias},
            timeout=60,
        ).json()["model_version"]
        assert found["version"] == version
