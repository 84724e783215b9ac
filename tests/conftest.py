"""What all tests need: signals as a terminal gives them."""

import signal


def pytest_configure() -> None:
    """A runner that is started in the background inherits that Ctrl-C is ignored; tests send it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
