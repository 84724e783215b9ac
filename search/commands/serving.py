"""What commands share that serve pages to a browser on this machine until Ctrl-C."""

import threading
from collections.abc import Mapping

from chorale.datasets.errors import UserError

HOST = "127.0.0.1"
"""Neither TensorBoard nor optuna-dashboard asks who is there: nobody else may come in."""
LAST_PORT = 65535


def port_of(options: Mapping[str, str]) -> int | None:
    """The port that was asked for; 0 stands for any that is free, None for no wish.

    Raises:
        UserError: it is none.
    """
    text = options.get("port")
    if text is None:
        return None
    if not text.isdecimal() or int(text) > LAST_PORT:
        raise UserError(
            f"--port should be a whole number from 0 (any that is free) to {LAST_PORT}, but got "
            f"'{text}'"
        )
    return int(text)


def port_taken(port: int) -> UserError:
    """What to raise where another program listens there."""
    return UserError(f"port {port} is taken; choose another with --port, or any with --port 0")


def wait(what: str, url: str) -> None:
    """Says where the page is, and returns at Ctrl-C or SIGTERM: they end it as they should."""
    print(f"{what}: {url}   (Ctrl-C ends it)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print(f"{what} has ended")
