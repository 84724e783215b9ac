"""The key `track` of a sweep file: which experiment tracker gets a study, and where it is."""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from chorale.datasets.config import SECRET, config, read_config
from chorale.datasets.errors import UserError


def address_problem(uri: str) -> str | None:
    """What is wrong with the address of a tracker; None where nothing is.

    The text never holds the address, which may carry a password or a token.
    """
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises for one that is no number
    except ValueError:
        return "is no address; give http://HOST:PORT or https://HOST"
    if "@" in parts.netloc or parts.query or parts.fragment:
        return (
            "holds a user, a password or other parts after the path, and others can read it; give "
            "http://HOST:PORT alone, and the secret by the tracker's own environment variables "
            "(of MLflow: MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD)"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return (
            "is no server's address; give http://HOST:PORT or https://HOST (a server on this "
            "machine: mlflow server --host 127.0.0.1 --port 5000)"
        )
    return None


def checked_address(uri: str, *, where: str) -> str:
    """The address without a slash at its end.

    Raises:
        UserError: it is no server's, or holds a secret; the text names `where` it was given.
    """
    if problem := address_problem(uri):
        raise UserError(f"{where} {problem}")
    return uri.rstrip("/")


def _without_secret(uri: str) -> str:
    """Refuses an address with a secret: a config is kept with its study, and sent with a job."""
    if problem := address_problem(uri):
        raise PydanticCustomError(SECRET, "{problem}", {"problem": problem})
    return uri.rstrip("/")


def _as_mapping(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


@config
class TrackConfig:
    """The tracker of a study, and where it is."""

    name: str = "mlflow"
    """which tracker: a file of `search/tracking/trackers`"""
    uri: Annotated[str, AfterValidator(_without_secret)] | None = None
    """its server's address, without a secret; null: by the tracker's own environment variable"""
    experiment: Annotated[str, Field(min_length=1, max_length=250)] | None = None
    """the experiment that holds the study's runs; null: by the tracker's own environment variable,
    or else "chorale"
    """


Track = Annotated[TrackConfig, BeforeValidator(_as_mapping)]
"""A tracker's name, or a mapping of the keys of `TrackConfig`."""


def read_track(value: object, *, where: str) -> TrackConfig:
    """The value of the key `track` in a file that is kept with a study; defaults where it is null.

    Raises:
        UserError: it is neither a name nor a valid mapping.
    """
    values = _as_mapping(value or {})
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: track should be a name or a mapping, but got {value!r}")
    return read_config(TrackConfig, values, where=f"{where}: track")
