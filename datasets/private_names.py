"""Reads a private attribute of another library, or says which release has it."""

from typing import Any

from chorale.datasets.errors import UserError


def private_attribute(owner: Any, name: str, *, distribution: str, tested: str) -> Any:
    """The attribute `name` of `owner`, an object of `distribution`.

    Raises:
        UserError: the installed release has no such attribute; names the `tested` one to install.
    """
    try:
        return getattr(owner, name)
    except AttributeError:
        from importlib.metadata import version

        raise UserError(
            f"{distribution} {version(distribution)} has no {type(owner).__name__}.{name}, which "
            f"Chorale needs (tested with {tested}); type: pip install '{distribution}=={tested}.*'"
        ) from None
