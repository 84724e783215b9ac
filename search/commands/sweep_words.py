"""The words of a command that is about one sweep: `FILE [--key value ...]`."""

from collections.abc import Sequence

from datasets.errors import UserError


def take_file(words: Sequence[str], *, command: str) -> tuple[str, list[str]]:
    """The sweep file, or the name of a shipped sweep, and the words after it.

    Raises:
        UserError: the first word is not one.
    """
    if not words or words[0].startswith("--"):
        got = f"got '{words[0]}'" if words else "got none"
        raise UserError(
            f"expected a sweep file, or the name of a shipped sweep, but {got}; "
            f"type: chorale {command} SWEEP.yaml [--key value ...]"
        )
    return words[0], list(words[1:])
