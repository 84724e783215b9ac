"""Resident memory of the sweep's process, and of all that it started on this machine."""

from contextlib import suppress

import psutil

DRIVER, WORKERS = "driver", "workers"


def resident_bytes() -> dict[str, int]:
    """The resident memory of this process ("driver") and of its children ("workers"), in bytes.

    Workers are all processes below this one, with the fork server or Ray's own. Pages that forked
    processes share count once for each. Processes of other nodes are not counted.
    """
    driver = psutil.Process()
    found = {DRIVER: int(driver.memory_info().rss), WORKERS: 0}
    for child in driver.children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            found[WORKERS] += int(child.memory_info().rss)
    return found
