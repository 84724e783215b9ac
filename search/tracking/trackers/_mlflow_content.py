"""What a run's content is in MLflow: names and values that it accepts, in requests of its sizes."""

import re
from collections.abc import Iterable, Mapping, Sequence

from chorale.search.tracking.base import RunContent, RunState

STATUS = {
    RunState.RUNNING: "RUNNING",
    RunState.COMPLETE: "FINISHED",
    RunState.STOPPED: "KILLED",
    RunState.FAILED: "FAILED",
}
OWN = "chorale."
"""The prefix of Chorale's tags."""
STUDY, KEY, WRITTEN, ARTIFACT = (f"{OWN}{name}" for name in ("study", "key", "written", "artifact"))
PARENT, COMMIT, NOTE = "mlflow.parentRunId", "mlflow.source.git.commit", "mlflow.note.content"
"""Tags that MLflow's pages know."""
SOURCE = {"mlflow.source.name": "chorale", "mlflow.source.type": "LOCAL"}
"""Without these the pages do not show the commit."""

MAX_METRICS, MAX_PARAMS = 800, 100
"""Of one request; metrics, parameters and tags of one request are at most 1,000 together."""
MAX_PARAM, MAX_TAG = 500, 5000
"""Characters that every version since 2.0 stores; longer values are cut."""


def run_tags(content: RunContent, parent: str) -> dict[str, str]:
    """The tags of a run but those that identify it."""
    tags = {f"{OWN}{name}": value for name, value in content.tags.items()}
    known = {PARENT: parent, COMMIT: content.commit, NOTE: content.note, **SOURCE}
    tags |= {name: value for name, value in known.items() if value}
    return {allowed_name(name): value[:MAX_TAG] for name, value in tags.items()}


def run_params(content: RunContent) -> dict[str, str]:
    """The parameters of a run."""
    return {allowed_name(name): value[:MAX_PARAM] for name, value in content.params.items()}


def is_stale(name: str, wanted: Mapping[str, str]) -> bool:
    """Whether a run has a tag of Chorale's that it should no longer have."""
    kept = name in (STUDY, KEY, WRITTEN) or name.startswith(f"{ARTIFACT}.")
    return (name.startswith(OWN) or name == NOTE) and not kept and name not in wanted


def allowed_name(text: str) -> str:
    """A name with the characters that MLflow allows."""
    return re.sub(r"[^\w\-./: ]", "_", text)[:250]


def pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags or parameters as requests carry them."""
    return [{"key": name, "value": value} for name, value in values.items()]


def batches(
    params: Sequence[object], tags: Sequence[object], metrics: Sequence[object]
) -> Iterable[dict[str, list[object]]]:
    """The bodies of requests that log all of it, each within a server's limits."""
    at = [0, 0, 0]
    while at[0] < len(params) or at[1] < len(tags) or at[2] < len(metrics):
        body = {
            "params": list(params[at[0] : at[0] + MAX_PARAMS]),
            "tags": list(tags[at[1] : at[1] + MAX_PARAMS]),
            "metrics": list(metrics[at[2] : at[2] + MAX_METRICS]),
        }
        yield body
        at = [at[0] + MAX_PARAMS, at[1] + MAX_PARAMS, at[2] + MAX_METRICS]
