"""Shared by commands that serve local web pages: the port, and waiting for Ctrl-C."""

import threading
from collections.abc import Mapping

from chorale.datasets.errors import UserError

HOST = "127.0.0.1"
"""TensorBoard and optuna-dashboard have no authentication, so other machines have no access."""
LAST_PORT = 65535


def port_of(options: Mapping[str, str], name: str = "port") -> int | None:
    """The value of the option `name`; 0 stands for any free port, None where it was not given.

    Raises:
        UserError: it is no port number.
    """
    text = options.get(name)
    if text is None:
        return None
    if not text.isdecimal() or int(text) > LAST_PORT:
        raise UserError(
            f"--{name} should be a whole number from 0 (any that is free) to {LAST_PORT}, but got "
            f"'{text}'"
        )
    return int(text)


def wait_for_interrupt(what: str, url: str) -> None:
    """Prints the URL, and returns at Ctrl-C or SIGTERM, the normal way to end the command."""
    print(f"{what}: {url}   (Ctrl-C ends it)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print(f"{what} has ended")
