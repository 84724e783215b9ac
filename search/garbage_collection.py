"""Garbage collection thresholds: rare collections during start-up, Python's own during work.

Start-up creates mostly modules, which stay; scanning them again and again took a tenth of the
CPU-seconds of `chorale predict`. A command that keeps running or trains must collect as usual, or
memory in reference cycles would be freed late.
"""

import gc

RARE_THRESHOLD = 50_000
"""Net new objects before the youngest generation is collected."""

_usual = gc.get_threshold()


def collect_rarely() -> None:
    """For start-up, where modules are imported."""
    gc.set_threshold(RARE_THRESHOLD, *_usual[1:])


def collect_normally() -> None:
    """For work: Python's own thresholds; what start-up created is never scanned again."""
    if gc.get_threshold()[0] == RARE_THRESHOLD:  # only after `collect_rarely`, and only once
        gc.freeze()
        gc.set_threshold(*_usual)
