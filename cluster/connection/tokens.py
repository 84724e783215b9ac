"""Ray's authentication token: where it is found, and its file permissions.

Ray reads RAY_AUTH_TOKEN, or else the file RAY_AUTH_TOKEN_PATH, or else ~/.ray/auth_token.
Source: Ray's documentation, token authentication, 2026,
https://docs.ray.io/en/latest/ray-security/token-auth.html
"""

import os
import stat
from pathlib import Path

RAY_AUTH_MODE_VARIABLE = "RAY_AUTH_MODE"
RAY_TOKEN_VARIABLE = "RAY_AUTH_TOKEN"
RAY_TOKEN_PATH_VARIABLE = "RAY_AUTH_TOKEN_PATH"
DEFAULT_TOKEN_FILE = Path("~/.ray/auth_token")

TOKEN_AUTH_VARIABLES = {RAY_AUTH_MODE_VARIABLE: "token"}
"""The variable that makes a Ray process send its token and require one."""

MAKE_TOKEN_COMMAND = "(umask 077; ray get-auth-token --generate > /dev/null)"
"""Creates a token file that only its owner can read; Ray alone makes it readable by all."""


def token_file() -> Path | None:
    """The file that Ray would read its token from; None if the token is in a variable."""
    if os.environ.get(RAY_TOKEN_VARIABLE):
        return None
    return Path(os.environ.get(RAY_TOKEN_PATH_VARIABLE) or DEFAULT_TOKEN_FILE).expanduser()


def has_token() -> bool:
    """Whether this process has a token to send."""
    file = token_file()
    return file is None or file.is_file()


def is_accessible_to_others(file: Path) -> bool:
    """Whether users other than the owner can read or write a file."""
    return bool(file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def restrict_default_file() -> None:
    """Sets the mode of Ray's default token file to 0600: Ray writes it readable by all.

    A file that RAY_AUTH_TOKEN_PATH names is the user's choice, so its mode is not changed;
    `cluster.doctor.doctor` reports it.
    """
    file = DEFAULT_TOKEN_FILE.expanduser()
    if file.is_file() and file.stat().st_uid == os.getuid() and is_accessible_to_others(file):
        file.chmod(0o600)


def reload() -> None:
    """Makes Ray read mode and token again; by itself it reads them once per process."""
    from chorale.cluster._ray import reload_token

    reload_token()
