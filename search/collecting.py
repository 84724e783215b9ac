"""When Python looks for garbage: seldom while a command starts, as usual once it is at work.

What a start makes are modules, which stay; to look through them again and again took a tenth of the
CPU-seconds of `chorale predict`. A command that stays or trains has to look as usual, or memory
that nothing but a cycle holds would be given back late.
"""

import gc

SELDOM = 50_000
"""So many objects more, net, before the youngest are looked through."""

_usual = gc.get_threshold()


def seldom() -> None:
    """From here on things are imported."""
    gc.set_threshold(SELDOM, *_usual[1:])


def as_usual() -> None:
    """From here on there is work; what a start has made is not looked through again."""
    if gc.get_threshold()[0] == SELDOM:  # else nothing was started, or work has begun before
        gc.freeze()
        gc.set_threshold(*_usual)
