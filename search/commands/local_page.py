"""Shared by commands that serve local web pages: the address, and waiting for Ctrl-C."""

import threading

HOST = "127.0.0.1"
"""TensorBoard and optuna-dashboard have no authentication, so other machines have no access."""


def wait_for_interrupt(what: str, url: str) -> None:
    """Prints the URL, and returns at Ctrl-C or SIGTERM, the normal way to end the command."""
    print(f"{what}: {url}   (Ctrl-C ends it)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print(f"{what} has ended")
