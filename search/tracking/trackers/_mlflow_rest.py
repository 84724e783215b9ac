"""MLflow's public REST API 2.0 over HTTP: one session, and errors of one line.

Not MLflow's own client: `mlflow-skinny` 3.17.2 agrees with the lock, but takes 60 MB with the nine
packages that it adds, 3 s of processor time to import and 170 MB of memory (Python 3.11, 2 cores);
`requests`, which Ray needs anyway, takes 0.2 s and 27 MB. The whole `mlflow` wants an older pyarrow
than the lock's. The API is stable since MLflow 2.0, and the same with any server.

Source: https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from chorale.search.tracking.base import TrackerError

API = "/api/2.0/mlflow/"
PROXY = "/api/2.0/mlflow-artifacts/artifacts/"
TIMEOUT_S = (4.0, 15.0)
"""To connect, and for each read."""
LEAST_VERSION = 2
"""The oldest major version of a server; 1.x is of 2022 and before."""
MAX_MESSAGE = 200
"""Characters of a server's message that are shown."""

TOKEN, USER, PASSWORD = (
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
)
"""MLflow's environment variables of secrets; they are read from nowhere else."""


class NotFoundError(TrackerError):
    """The server has no such object."""


class ExistsError(TrackerError):
    """The server has such an object already."""


class _Bearer:
    """A token in each request's header; given as `auth`, it goes before a user's ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _add_nothing(request: Any) -> Any:
    """As `auth`: without any, `requests` would send what ~/.netrc has for the host."""
    return request


class MlflowRest:
    """Requests to one server."""

    def __init__(self, address: str) -> None:
        """`address` holds no secret; those of the environment are used."""
        self.address = address
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "chorale"
        self._secrets = [os.environ[name] for name in (TOKEN, PASSWORD) if os.environ.get(name)]
        if token := os.environ.get(TOKEN):
            self._session.auth = _Bearer(token)
        elif user := os.environ.get(USER):
            self._session.auth = (user, os.environ.get(PASSWORD, ""))
        else:
            self._session.auth = _add_nothing
        if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("1", "true"):
            self._session.verify = False
        elif certificate := os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"):
            self._session.verify = certificate

    def check_version(self) -> None:
        """Refuses a server of a version before 2.0.

        Raises:
            TrackerError: it is older, no MLflow server, or cannot be reached.
        """
        answer = self._send("GET", "/version")
        found = re.match(r"(\d+)\.\d+", answer.text)
        # a server behind a proxy may not answer this; then the first request decides
        if answer.ok and found and int(found[1]) < LEAST_VERSION:
            raise self._error(
                f"is of MLflow {answer.text.strip()[:20]}, but {LEAST_VERSION}.0 or later is "
                f"needed; upgrade the server"
            )
        self._refuse(answer)

    def get(self, path: str, *, needs: str = "", **query: str) -> dict[str, Any]:
        """The answer to a query; it must have the key `needs`, if any.

        Raises:
            TrackerError: see `post`.
        """
        return self._json(self._send("GET", API + path, params=query), needs)

    def post(self, path: str, body: Mapping[str, Any], *, needs: str = "") -> dict[str, Any]:
        """The answer to a change or a search; it must have the key `needs`, if any.

        Raises:
            NotFoundError, ExistsError: there is no such object, or there is one already.
            TrackerError: the server cannot be reached, refuses the secret, fails, or is no MLflow.
        """
        return self._json(self._send("POST", API + path, json=body), needs)

    def delete(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a removal; errors as those of `post`."""
        return self._json(self._send("DELETE", API + path, json=body))

    def upload(self, file: Path, path: str) -> None:
        """Stores a file by the server's own access to artifacts, replacing what is there.

        Raises:
            TrackerError: as `post`, or the file cannot be read.
        """
        try:
            with file.open("rb") as content:
                # an empty file would be sent in chunks, which not every server accepts
                data = content if file.stat().st_size else b""
                answer = self._send("PUT", PROXY + quote(path), data=data)
        except OSError as error:
            raise TrackerError(f"'{file}' cannot be read: {error.strerror or error}") from None
        if not answer.ok or answer.content:  # of a file that is stored, the answer is empty
            self._json(answer)

    def close(self) -> None:
        """Closes the connection."""
        self._session.close()

    def _send(self, method: str, path: str, **more: Any) -> requests.Response:
        try:
            # not to another address, which might get the secret
            return self._session.request(
                method, self.address + path, timeout=TIMEOUT_S, allow_redirects=False, **more
            )
        except requests.RequestException as error:
            raise self._error(f"cannot be reached ({_cause(error)}); start it, or check its address"
                              ) from None  # fmt: skip

    def _json(self, answer: requests.Response, needs: str = "") -> dict[str, Any]:
        self._refuse(answer)
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, Mapping) or (answer.ok and needs and needs not in found):
            raise self._not_mlflow(answer)
        if answer.ok:
            return dict(found)
        code = str(found.get("error_code", ""))
        message = self._shown(str(found.get("message", "")))
        if code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFoundError(f"{self.name} has no such object: {message}")
        if code == "RESOURCE_ALREADY_EXISTS":
            raise ExistsError(f"{self.name} has such an object already: {message}")
        if code in ("", "ENDPOINT_NOT_FOUND"):
            raise self._not_mlflow(answer)
        raise self._error(f"refuses a request (HTTP {answer.status_code} {code}: {message})")

    def _refuse(self, answer: requests.Response) -> None:
        """Raises for answers of any server that say nothing about MLflow's objects."""
        status = answer.status_code
        if status in (401, 403):
            raise self._error(
                f"refuses the token or the password (HTTP {status}: "
                f"{self._shown(_message(answer))}); export {TOKEN}=..., or {USER} and {PASSWORD}"
            )
        if 300 <= status < 400:
            raise self._error(f"redirects to another address (HTTP {status}); give that one")
        if status == 429 or status >= 500:
            raise self._error(f"fails (HTTP {status}: {self._shown(_message(answer))}); "
                              f"see its own log")  # fmt: skip

    @property
    def name(self) -> str:
        """The server, for messages."""
        return f"MLflow at {self.address}"

    def _not_mlflow(self, answer: requests.Response) -> TrackerError:
        return self._error(
            f"answers like no MLflow server of version {LEAST_VERSION}.0 or later (HTTP "
            f"{answer.status_code}); check its address and its version"
        )

    def _error(self, what: str) -> TrackerError:
        return TrackerError(f"{self.name} {what}")

    def _shown(self, text: str) -> str:
        """A server's text in one line, without a secret that it may repeat."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:MAX_MESSAGE]


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return str(answer.reason)


def _cause(error: requests.RequestException) -> str:
    """The cause in a few words; the text of `requests` repeats the address, and holds objects."""
    if isinstance(error, requests.Timeout):
        return "it does not answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    text = str(error)
    for words in ("Connection refused", "Name or service not known", "Connection reset by peer"):
        if words in text:
            return words.lower()
    return "no connection"
