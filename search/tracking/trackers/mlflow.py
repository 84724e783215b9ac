"""MLflow: a run is an MLflow run, found again by its tags `chorale.study` and `chorale.key`.

A server creates a run with its tags in one step, so a process that dies afterwards leaves a run
that the next one finds. Metrics of a run are never written twice: those that it has are read first.
The tag `chorale.written` is written last: a run that has it is complete.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from chorale.datasets.errors import UserError
from chorale.search.config.track_config import checked_address
from chorale.search.tracking.base import (
    Artifact,
    Point,
    RunContent,
    RunState,
    TrackedRun,
    TrackerError,
)
from chorale.search.tracking.trackers._mlflow_content import (
    ARTIFACT,
    KEY,
    PARENT,
    STATUS,
    STUDY,
    WRITTEN,
    allowed_name,
    batches,
    is_stale,
    pairs,
    run_params,
    run_tags,
)
from chorale.search.tracking.trackers._mlflow_models import register_version
from chorale.search.tracking.trackers._mlflow_rest import ExistsError, MlflowRest, NotFoundError

URI = "MLFLOW_TRACKING_URI"
EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
DEFAULT_EXPERIMENT = "chorale"

MAX_RUNS, MAX_HISTORY = 1000, 25_000
"""Runs, and values of a metric, in one answer."""


def open_server(uri: str | None, experiment: str | None) -> "Mlflow":
    """A tracker for a server, which is not yet asked anything.

    Args:
        uri: its address; None: by the environment variable MLFLOW_TRACKING_URI.
        experiment: the experiment's name; None: by MLFLOW_EXPERIMENT_NAME, or else "chorale".

    Raises:
        UserError: no address is given, or it holds a secret.
    """
    if uri is None:
        uri = os.environ.get(URI, "")
        if not uri:
            raise UserError(
                f"no MLflow server is named; give track.uri (--track.uri http://HOST:5000), or "
                f"export {URI}=http://HOST:5000"
            )
        uri = checked_address(uri, where=URI)
    return Mlflow(uri, experiment or os.environ.get(EXPERIMENT) or DEFAULT_EXPERIMENT)


@dataclass
class _Known:
    """What the server has of one run."""

    started_ms: int
    artifact_uri: str
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: set[str] = field(default_factory=set)


class Mlflow:
    """One experiment of one server: a `Tracker`."""

    def __init__(self, address: str, experiment: str) -> None:
        """`address` holds no secret."""
        self._rest = MlflowRest(address)
        self._experiment = experiment
        self._experiment_id: str | None = None
        self._known: dict[str, _Known] = {}

    @property
    def place(self) -> str:
        """The server and the experiment."""
        return f"{self._rest.name}, experiment '{self._experiment}'"

    def runs(self, study: str) -> list[TrackedRun]:
        """See `Tracker`."""
        found: list[TrackedRun] = []
        query = {
            "experiment_ids": [self._open_experiment()],
            "filter": f"tags.`{STUDY}` = '{study}'",
            "max_results": MAX_RUNS,
        }
        more: dict[str, str] = {}
        while True:
            answer = self._rest.post("runs/search", {**query, **more})
            found += map(self._read, answer.get("runs", []))
            if not (token := answer.get("next_page_token")):
                return found
            more = {"page_token": token}

    def create(self, study: str, content: RunContent, parent: str) -> TrackedRun:
        """See `Tracker`."""
        tags = {STUDY: study, KEY: content.key, **run_tags(content, parent)}
        body = {
            "experiment_id": self._open_experiment(),
            "run_name": content.name,
            "start_time": content.started_ms,
            "tags": pairs(tags),
        }
        answer = self._rest.post("runs/create", body, needs="run")
        run = self._read(answer["run"])
        return TrackedRun(run.id, run.key, "", run.parent, is_new=True)

    def write(self, run: TrackedRun, content: RunContent, parent: str) -> list[str]:
        """See `Tracker`."""
        known = self._known[run.id]
        tags = run_tags(content, parent)
        params = {
            name: value for name, value in run_params(content).items() if name not in known.params
        }
        metrics = self._missing(run, content, known)
        stale = [name for name in known.tags if is_stale(name, tags)]
        for name in stale:
            self._rest.post("runs/delete-tag", {"run_id": run.id, "key": name})
        changed = {name: value for name, value in tags.items() if known.tags.get(name) != value}
        for body in batches(pairs(params), pairs(changed), metrics):
            self._rest.post("runs/log-batch", {"run_id": run.id, **body})
        left_out = self._upload(run, content.artifacts, known)
        ended: dict[str, Any] = {"status": STATUS[content.state], "run_name": content.name}
        if content.duration_ms is not None and content.state is not RunState.RUNNING:
            ended["end_time"] = known.started_ms + content.duration_ms
        self._rest.post("runs/update", {"run_id": run.id, **ended})
        self._set_tag(run, WRITTEN, content.version)
        known.params |= params
        known.tags = {key: one for key, one in known.tags.items() if key not in stale} | tags
        known.metrics |= {allowed_name(one.metric) for one in content.points}
        return left_out

    def remove(self, run: TrackedRun) -> None:
        """See `Tracker`."""
        self._rest.post("runs/delete", {"run_id": run.id})

    def register(self, model: str, study: str, bundle: Artifact, aliases: Sequence[str]) -> str:
        """See `Tracker`."""
        runs = [run for run in self.runs(study) if not run.parent]
        if not runs:
            raise TrackerError(f"{self.place} has no run of the study that made the bundle")
        run = min(runs, key=lambda one: (not one.version, one.id))
        name = f"bundle-{bundle.version[:12]}"
        known = self._known[run.id]
        if left_out := self._upload(run, {name: bundle}, known):
            raise TrackerError("; ".join(left_out))
        source = f"{known.artifact_uri}/{name}"
        return register_version(
            self._rest, model, bundle.version, source=source, run_id=run.id, aliases=aliases
        )

    def _set_tag(self, run: TrackedRun, key: str, value: str) -> None:
        self._rest.post("runs/set-tag", {"run_id": run.id, "key": key, "value": value})

    def close(self) -> None:
        """See `Tracker`."""
        self._rest.close()

    def _open_experiment(self) -> str:
        """The experiment's id; it is created where it is missing."""
        if self._experiment_id is not None:
            return self._experiment_id
        self._rest.check_version()
        try:
            found = self._find_experiment()
        except NotFoundError:
            try:
                body = {"name": self._experiment}
                found = self._rest.post("experiments/create", body, needs="experiment_id")
            except ExistsError:  # another process was faster
                found = self._find_experiment()
        if found.get("lifecycle_stage") == "deleted":
            raise TrackerError(
                f"{self._rest.name}: the experiment '{self._experiment}' is deleted; restore it "
                f"(mlflow experiments restore), or give another with track.experiment"
            )
        self._experiment_id = str(found["experiment_id"])
        return self._experiment_id

    def _find_experiment(self) -> dict[str, Any]:
        answer = self._rest.get(
            "experiments/get-by-name", needs="experiment", experiment_name=self._experiment
        )
        return dict(answer["experiment"])

    def _read(self, run: dict[str, Any]) -> TrackedRun:
        info, data = run["info"], run.get("data", {})
        known = _Known(
            started_ms=int(info.get("start_time", 0)),
            artifact_uri=str(info.get("artifact_uri", "")),
            tags={one["key"]: one.get("value", "") for one in data.get("tags", [])},
            params={one["key"]: one.get("value", "") for one in data.get("params", [])},
            metrics={one["key"] for one in data.get("metrics", [])},
        )
        run_id, tags = str(info["run_id"]), known.tags
        self._known[run_id] = known
        return TrackedRun(run_id, tags[KEY], tags.get(WRITTEN, ""), tags.get(PARENT, ""))

    def _missing(
        self, run: TrackedRun, content: RunContent, known: _Known
    ) -> list[dict[str, object]]:
        """The metrics that the run lacks, in order.

        A step whose last value is another one gets the new value with a later time, which MLflow
        then counts as the latest. Times depend on nothing that changes between two attempts.
        """
        points = [Point(allowed_name(p.metric), p.step, p.value) for p in content.points]
        last = max((point.step for point in points), default=0)
        per_step_ms = (content.duration_ms or 0) / max(last, 1)
        stored: dict[tuple[str, int], tuple[int, float]] = {}
        if not run.is_new:
            for metric in sorted({point.metric for point in points} & known.metrics):
                stored |= self._history(run.id, metric)
        missing = []
        for point in points:
            time_ms = known.started_ms + round(per_step_ms * point.step)
            at_ms, value = stored.get((point.metric, point.step), (None, None))
            if value == point.value:
                continue
            if at_ms is not None:
                time_ms = max(time_ms, at_ms + 1)
            missing.append(
                {
                    "key": point.metric,
                    "value": point.value,
                    "timestamp": time_ms,
                    "step": point.step,
                }
            )
        return missing

    def _history(self, run_id: str, metric: str) -> dict[tuple[str, int], tuple[int, float]]:
        """(metric, step) -> time and value of the last one written there."""
        found: dict[tuple[str, int], tuple[int, float]] = {}
        query = {"run_id": run_id, "metric_key": metric, "max_results": str(MAX_HISTORY)}
        while True:
            answer = self._rest.get("metrics/get-history", **query)
            for one in answer.get("metrics", []):
                place = (metric, int(one.get("step", 0)))
                new = (int(one["timestamp"]), float(one["value"]))
                found[place] = max(new, found.get(place, new), key=lambda pair: pair[0])
            if not (token := answer.get("next_page_token")):
                return found
            query["page_token"] = token

    def _upload(
        self, run: TrackedRun, artifacts: Mapping[str, Artifact], known: _Known
    ) -> list[str]:
        """Uploads artifacts that are new or changed; a line where the server stores none."""
        wanted = {
            name: one
            for name, one in artifacts.items()
            if known.tags.get(f"{ARTIFACT}.{name}") != one.version
        }
        if not wanted:
            return []
        place = urlsplit(known.artifact_uri)
        if place.scheme != "mlflow-artifacts":
            return [
                f"{', '.join(wanted)} not written: the server does not store artifacts itself, but "
                f"in {place.scheme or 'a folder'}; start it with: mlflow server --serve-artifacts"
            ]
        root = place.path.strip("/")
        for name, one in wanted.items():
            if one.path.is_dir():
                files = sorted(path for path in one.path.rglob("*") if path.is_file())
                for path in files:
                    inner = path.relative_to(one.path).as_posix()
                    self._rest.upload(path, f"{root}/{name}/{inner}")
            else:
                self._rest.upload(one.path, f"{root}/{name}")
            key = f"{ARTIFACT}.{name}"
            self._set_tag(run, key, one.version)
            known.tags[key] = one.version
        return []
