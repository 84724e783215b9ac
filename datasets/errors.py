"""User errors: exceptions that the command line prints as one text, without a traceback.

Everything that a user can cause is raised as a `UserError`; the command line prints its text and
exits with 1. Any other exception is a bug of Chorale and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake that the user can fix; the text says how.

    The text names what is wrong, what was got, what is allowed and what to type next.
    """


MAX_CHOICES = 40
"""How many allowed names an error lists: all plug-ins of a kind, but not every study of years."""


def unknown_name_error(kind: str, got: str, allowed: Iterable[str]) -> UserError:
    """The error for a name that is not allowed; it suggests the nearest allowed one.

    Args:
        kind: what the name stands for: "architecture", "dataset".
        got: the name as typed.
        allowed: all allowed names.
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    choice = "there is none to choose from"
    if names:
        choice = f"choose from: {join_first(names, most=MAX_CHOICES)}"
    return UserError(f"unknown {kind} '{got}'; {hint}{choice}")


def with_nearest(unknown: Iterable[str], known: Iterable[str]) -> list[str]:
    """Each unknown name in quotation marks, with the nearest known one where there is any."""
    names = sorted(known)
    found = []
    for name in unknown:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        found.append(f"'{name}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
    return found


MAX_LISTED = 5
"""How many examples an error lists before it only counts the rest."""


def join_first(items: Iterable[str], *, between: str = ", ", most: int = MAX_LISTED) -> str:
    """The first `most` of `items`, joined, and how many more there are."""
    every = list(items)
    more = [f"and {len(every) - most} more"] if len(every) > most else []
    return between.join([*every[:most], *more])
