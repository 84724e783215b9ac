"""A small MLflow server in this process, which fails on demand, and studies without training.

Only what `search.tracking.trackers.mlflow` uses, with the semantics of MLflow's SQL store: a run's
parameters never change, and an exact copy of a metric's value is stored once.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

API, PROXY = "/api/2.0/mlflow/", "/api/2.0/mlflow-artifacts/artifacts/"
EXPERIMENT_ID = "7"

Fault = str
"""`drop`: no answer, not obeyed. `lost`: obeyed, no answer. `late`: obeyed `lateness` requests
later, no answer. `garbage`: a page of another server; `json`: its JSON. `hang`: no answer while the
client waits. A number: that status."""


@dataclass
class FakeRun:
    """One run as the server stores it."""

    id: str
    name: str
    start: int
    status: str = "RUNNING"
    end: int | None = None
    deleted: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    """key, value, timestamp, step"""


class FakeMlflow:
    """The server's state. `fault` is asked for each request, by its method and path."""

    def __init__(self) -> None:
        self.runs: dict[str, FakeRun] = {}
        self.experiments: dict[str, str] = {}
        self.artifacts: dict[str, bytes] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.aliases: dict[tuple[str, str], str] = {}
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.fault: Callable[[str, str], Fault | None] = lambda method, path: None
        self.lateness = 3
        self.version = "3.17.2"
        self.artifact_uri = "mlflow-artifacts:/7/{id}/artifacts"
        self.address = ""
        self.released = threading.Event()
        self.lock = threading.RLock()
        self._late: list[tuple[int, Callable[[], object]]] = []

    def active(self) -> list[FakeRun]:
        """All runs but those that are deleted."""
        return [run for run in self.runs.values() if not run.deleted]

    def by_key(self) -> dict[str, FakeRun]:
        """The active runs by their key; fails where one is there twice."""
        keys = [run.tags["chorale.key"] for run in self.active()]
        assert len(keys) == len(set(keys)), keys
        return dict(zip(keys, self.active(), strict=True))

    def curve(self, key: str, metric: str) -> list[tuple[int, float]]:
        """(step, value) of everything that was ever logged, in its order."""
        return [(step, v) for name, v, _, step in self.by_key()[key].metrics if name == metric]

    def obey_late(self, *, everything: bool) -> None:
        """Obeys requests that are late: those whose time has come, or all."""
        with self.lock:
            due = [one for one in self._late if everything or one[0] <= len(self.requests)]
            self._late = [one for one in self._late if one not in due]
            for _, work in due:
                work()

    def delay(self, work: Callable[[], object]) -> None:
        """Obeys a request `lateness` requests later."""
        self._late.append((len(self.requests) + self.lateness, work))

    def obey(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        with self.lock:
            if path == "/version":
                return 200, self.version
            if path.startswith(PROXY) and method == "PUT":
                self.artifacts[unquote(path.removeprefix(PROXY))] = body
                return 200, None
            name = path.removeprefix(API).replace("/", "_").replace("-", "_")
            work = getattr(self, f"_{name}", None)
            if not path.startswith(API) or work is None:
                return 404, None
            try:
                return 200, work(**query, **(json.loads(body) if body else {}))
            except KeyError as error:
                code = str(error.args[0])
                return (404 if "NOT_EXIST" in code else 400), {"error_code": code, "message": code}

    def _experiments_get_by_name(self, experiment_name: str) -> Any:
        if experiment_name not in self.experiments:
            raise KeyError("RESOURCE_DOES_NOT_EXIST")
        stage = self.experiments[experiment_name]
        return {"experiment": {"experiment_id": EXPERIMENT_ID, "lifecycle_stage": stage}}

    def _experiments_create(self, name: str) -> Any:
        if name in self.experiments:
            raise KeyError("RESOURCE_ALREADY_EXISTS")
        self.experiments[name] = "active"
        return {"experiment_id": EXPERIMENT_ID}

    def _runs_search(
        self, experiment_ids: list[str], filter: str, max_results: int, page_token: str = "0"
    ) -> Any:
        assert experiment_ids == [EXPERIMENT_ID]
        tag, _, value = filter.removeprefix("tags.").partition(" = ")
        found = [r for r in self.active() if r.tags.get(tag.strip("`")) == value.strip("'")]
        at, size = int(page_token), min(max_results, 4)  # small pages
        more = {"next_page_token": str(at + size)} if at + size < len(found) else {}
        return {"runs": [self._json(run) for run in found[at : at + size]], **more}

    def _runs_create(
        self, experiment_id: str, run_name: str, start_time: int, tags: list[dict[str, str]]
    ) -> Any:
        assert experiment_id == EXPERIMENT_ID
        run = FakeRun(f"{len(self.runs) * 7919 % 1000:03d}", run_name, start_time)
        run.tags = {one["key"]: one["value"] for one in tags}
        self.runs[run.id] = run
        return {"run": self._json(run)}

    def _runs_log_batch(
        self, run_id: str, params: list[Any], tags: list[Any], metrics: list[Any]
    ) -> Any:
        run = self.runs[run_id]
        assert max(len(params), len(tags)) <= 100
        assert len(metrics) <= 1000
        for one in params:
            if run.params.setdefault(one["key"], one["value"]) != one["value"]:
                raise KeyError("INVALID_PARAMETER_VALUE")
        for one in metrics:
            stored = (one["key"], one["value"], one["timestamp"], one["step"])
            if stored not in run.metrics:
                run.metrics.append(stored)
        run.tags |= {one["key"]: one["value"] for one in tags}
        return {}

    def _runs_set_tag(self, run_id: str, key: str, value: str) -> Any:
        self.runs[run_id].tags[key] = value
        return {}

    def _runs_delete_tag(self, run_id: str, key: str) -> Any:
        if self.runs[run_id].tags.pop(key, None) is None:
            raise KeyError("RESOURCE_DOES_NOT_EXIST")
        return {}

    def _runs_update(
        self, run_id: str, status: str, run_name: str, end_time: int | None = None
    ) -> Any:
        run = self.runs[run_id]
        run.status, run.name, run.end = status, run_name, end_time or run.end
        return {}

    def _runs_delete(self, run_id: str) -> Any:
        self.runs[run_id].deleted = True
        return {}

    def _registered_models_create(self, name: str) -> Any:
        if name in self.models:
            raise KeyError("RESOURCE_ALREADY_EXISTS")
        self.models[name] = {}
        return {}

    def _model_versions_create(
        self, name: str, source: str, run_id: str, tags: list[dict[str, str]]
    ) -> Any:
        assert source.startswith(self.artifact_uri.format(id=run_id))
        number = str(1 + max(map(int, self.models[name]), default=0))
        self.models[name][number] = {"source": source, "run_id": run_id, "tags": tags}
        return {}

    def _model_versions_search(self, filter: str, max_results: str, page_token: str = "0") -> Any:
        found = self.models.get(filter.removeprefix("name='").removesuffix("'"), {})
        versions = [{"version": number, **one} for number, one in found.items()]
        at, size = int(page_token), min(int(max_results), 1)
        more = {"next_page_token": str(at + size)} if at + size < len(versions) else {}
        return {"model_versions": versions[at : at + size], **more}

    def _model_versions_delete(self, name: str, version: str) -> Any:
        del self.models[name][version]
        return {}

    def _registered_models_alias(self, name: str, alias: str, version: str) -> Any:
        assert version in self.models[name]
        self.aliases[name, alias] = version
        return {}

    def _metrics_get_history(
        self, run_id: str, metric_key: str, max_results: str, page_token: str = "0"
    ) -> Any:
        found = [one for one in self.runs[run_id].metrics if one[0] == metric_key]
        at, size = int(page_token), min(int(max_results), 3)
        more = {"next_page_token": str(at + size)} if at + size < len(found) else {}
        names = ("key", "value", "timestamp", "step")
        shown = [dict(zip(names, one, strict=True)) for one in found[at : at + size]]
        return {"metrics": shown, **more}

    def _json(self, run: FakeRun) -> Any:
        def pairs(values: dict[str, Any]) -> list[dict[str, Any]]:
            return [{"key": name, "value": value} for name, value in values.items()]

        return {
            "info": {
                "run_id": run.id,
                "status": run.status,
                "start_time": run.start,
                "artifact_uri": self.artifact_uri.format(id=run.id),
            },
            "data": {
                "tags": pairs(run.tags),
                "params": pairs(run.params),
                "metrics": pairs({one[0]: one[1] for one in run.metrics}),
            },
        }


@contextmanager
def serving(fake: FakeMlflow, *, port: int = 0) -> Iterator[str]:
    """Serves it on this machine; gives its address, which is also `fake.address`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            query = {name: one[0] for name, one in parse_qs(parts.query).items()}
            fake.requests.append(f"{self.command} {self.path}")
            fake.headers.append(dict(self.headers))
            fake.obey_late(everything=False)
            fault = fake.fault(self.command, parts.path)

            def obey() -> tuple[int, Any]:
                return fake.obey(self.command, parts.path, query, body)

            if fault == "hang":
                fake.released.wait(20)
            if fault == "lost":
                obey()
            if fault == "late":
                fake.delay(obey)
            if fault in ("drop", "lost", "late", "hang"):
                self.close_connection = True
                return
            if fault == "garbage":
                self._answer(200, b"<html>another server</html>", "text/html")
            elif fault == "json":
                self._answer(200, b'{"status": "ok"}', "application/json")
            elif fault is not None:
                message = {"error_code": "X", "message": f"refused {self.headers['Authorization']}"}
                self._answer(int(fault), json.dumps(message).encode(), "application/json")
            else:
                status, found = obey()
                text = b"" if found is None else json.dumps(found).encode()
                plain = found.encode() if isinstance(found, str) else text
                self._answer(status, plain, "application/json")

        def _answer(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    fake.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake.address
    finally:
        fake.released.set()
        server.shutdown()
        server.server_close()
