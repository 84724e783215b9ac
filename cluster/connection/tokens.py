"""The token that keeps strangers out of a Ray cluster: where it is, and who can read it.

Ray reads RAY_AUTH_TOKEN, or else the file RAY_AUTH_TOKEN_PATH, or else ~/.ray/auth_token.
Source: Ray's documentation, token authentication, 2026,
https://docs.ray.io/en/latest/ray-security/token-auth.html
"""

import os
import stat
from pathlib import Path

MODE = "RAY_AUTH_MODE"
TOKEN = "RAY_AUTH_TOKEN"
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"
DEFAULT_FILE = Path("~/.ray/auth_token")

ON = {MODE: "token"}
"""The variable that makes a process of Ray send its token, and ask for one."""

MAKE_ONE = "(umask 077; ray get-auth-token --generate > /dev/null)"
"""What to type for a token file that nobody else can read; Ray alone leaves it open to all."""


def token_file() -> Path | None:
    """The file that this process would read its token from; None where that is in a variable."""
    if os.environ.get(TOKEN):
        return None
    return Path(os.environ.get(TOKEN_PATH) or DEFAULT_FILE).expanduser()


def has_token() -> bool:
    """Whether this process has a token to show."""
    file = token_file()
    return file is None or file.is_file()


def is_open(file: Path) -> bool:
    """Whether others than its owner can read or write a file."""
    return bool(file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def shut_default() -> None:
    """Takes Ray's own token file away from others' eyes: Ray writes it for all to read.

    A file that RAY_AUTH_TOKEN_PATH names is somebody's choice, so it is left alone;
    `cluster.doctor.doctor` tells of it.
    """
    file = DEFAULT_FILE.expanduser()
    if file.is_file() and file.stat().st_uid == os.getuid() and is_open(file):
        file.chmod(0o600)


def read_again() -> None:
    """Makes Ray look at the variables now: it reads mode and token once in a process's life."""
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
