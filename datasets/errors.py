"""What Chorale says when a person made a mistake: one clear text, no traceback.

Everything that a user can cause is raised as a `UserError`; the command line prints its text and
exits with 1. Anything else that escapes is a bug of ours and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake that the person at the keyboard can mend; its text says how.

    The text names what is wrong, what was got, what is allowed and what to type next.
    """


def unknown(kind: str, got: str, allowed: Iterable[str]) -> UserError:
    """An error for a name that is not among those allowed, with the nearest one offered.

    Args:
        kind: what the name stands for, in the user's words: "architecture", "dataset".
        got: the name as it was typed.
        allowed: every name that would have worked.
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return UserError(f"unknown {kind} '{got}'; {hint}choose from: {', '.join(names)}")


SHOWN = 5
"""How many examples an error names before it only counts."""


def shown(items: Iterable[str], *, between: str = ", ") -> str:
    """The first few of `items`, and how many more there are."""
    every = list(items)
    more = [f"and {len(every) - SHOWN} more"] if len(every) > SHOWN else []
    return between.join([*every[:SHOWN], *more])
