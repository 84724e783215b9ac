"""MLflow's model registry: a bundle is a version of a model, found again by its hash in a tag."""

import contextlib
import re
from collections.abc import Sequence

from chorale.search.tracking.trackers._mlflow_rest import ExistsError, MlflowRest, NotFoundError

DIGEST = "chorale.bundle"
"""The tag with the hash of a bundle's content."""

MAX_VERSIONS = 1000
"""Versions in one answer."""


def register_version(
    rest: MlflowRest,
    model: str,
    digest: str,
    *,
    source: str,
    run_id: str,
    aliases: Sequence[str],
) -> str:
    """Makes a stored bundle a version of a model, unless it is one, and points aliases at it.

    Args:
        rest: the server.
        model: the model's name, created where it is missing.
        digest: the hash of the bundle's content.
        source: where the bundle is stored, below the artifacts of the run.
        run_id: the run of the study.
        aliases: "champion", "challenger".

    Returns:
        The number of the version.

    Raises:
        TrackerError: the server cannot be used.
    """
    name = re.sub(r"[/:]", "_", model)
    found = _versions(rest, name, digest)
    if not found:
        with contextlib.suppress(ExistsError):
            rest.post("registered-models/create", {"name": name})
        made = {"source": source, "run_id": run_id, "tags": [{"key": DIGEST, "value": digest}]}
        rest.post("model-versions/create", {"name": name, **made})
        found = _versions(rest, name, digest)
    first, *doubles = sorted(found)
    for alias in aliases:
        rest.post("registered-models/alias", {"name": name, "alias": alias, "version": str(first)})
    for double in doubles:  # a request without an answer was obeyed
        rest.delete("model-versions/delete", {"name": name, "version": str(double)})
    return str(first)


def _versions(rest: MlflowRest, name: str, digest: str) -> list[int]:
    """The numbers of the versions that hold the bundle."""
    found: list[int] = []
    query = {"filter": f"name='{name}'", "max_results": str(MAX_VERSIONS)}
    while True:
        try:
            answer = rest.get("model-versions/search", **query)
        except NotFoundError:  # a server of an older version, where there is no such model
            return []
        for one in answer.get("model_versions", []):
            tags = {tag["key"]: tag.get("value", "") for tag in one.get("tags", [])}
            if tags.get(DIGEST) == digest:
                found.append(int(one["version"]))
        if not (token := answer.get("next_page_token")):
            return found
        query["page_token"] = token
