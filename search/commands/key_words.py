"""Keys of a sweep on a command line, `--budget.trials 8`, beside the names that it has."""

import dataclasses
import re
from collections.abc import Collection, Sequence

import click

from chorale.datasets.errors import unknown_name_error
from chorale.search.commands.command import option_names

HELP_OF_KEYS = "chorale keys"


def split_key_words(words: Sequence[str], keys: Collection[str]) -> tuple[list[str], list[str]]:
    """The names among `words`, and the keys with their values, as they were typed.

    Args:
        words: what is left of a command line without the command's own options.
        keys: the keys that have a value, up to their first dot.

    Raises:
        click.UsageError: a key has no value, or there is no such key or option.
    """
    names, typed, rest = list[str](), list[str](), list(words)
    while rest:
        word = rest.pop(0)
        key, equals, _ = word.removeprefix("--").partition("=")
        if not word.startswith("-") or word == "-":
            names.append(word)
            continue
        if not word.startswith("--") or not key:
            raise _unknown(word, keys)
        typed.append(word)
        if equals:
            continue
        if not rest or re.match(r"--[A-Za-z]", rest[0]):
            if key.split(".")[0] not in keys:
                raise _unknown(word, keys)
            raise click.UsageError(
                f"{word} needs a value: {word} VALUE; see: {HELP_OF_KEYS} {key}",
                click.get_current_context(silent=True),
            )
        typed.append(rest.pop(0))
    return names, typed


def one_name(names: Sequence[str], what: str) -> str:
    """The only one of `names`.

    Raises:
        click.UsageError: there are several or none.
    """
    if len(names) != 1:
        context = click.get_current_context(silent=True)
        raise click.UsageError(f"expected {what}, but got {' '.join(names) or 'none'}", context)
    return names[0]


def sweep_keys() -> list[str]:
    """The keys of a sweep file, without those of its sections."""
    from chorale.search.config.schema import SweepConfig

    return [field.name for field in dataclasses.fields(SweepConfig)]


def _unknown(word: str, keys: Collection[str]) -> click.UsageError:
    context = click.get_current_context(silent=True)
    options = [] if context is None else option_names(context)
    known = [*options, *(f"--{key}" for key in keys)]
    return click.UsageError(str(unknown_name_error("option", word, known)), context)
