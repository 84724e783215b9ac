"""Private names of Lightning, all in this file: what one small fit on one device does not need.

Where a name is missing, another Lightning trains alike, only slower; but the fit loop must be
replaceable, or no step would run as it should: `replace_steps` refuses such a Lightning.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytorch_lightning as pl

from chorale.datasets.errors import UserError

TESTED = "2.6"
"""The release that Chorale was tested with."""


def replace_steps(trainer: pl.Trainer, run_epoch: Callable[..., None]) -> None:
    """Makes `run_epoch()` take all steps of an epoch, without the hooks and wrappers of each.

    Raises:
        UserError: this Lightning has no such loop; names the release to install.
    """
    epoch_loop: Any = trainer.fit_loop.epoch_loop
    if missing := [name for name in ("advance", "on_advance_end") if not hasattr(epoch_loop, name)]:
        raise UserError(
            f"Lightning {version('pytorch-lightning')} has no epoch_loop.{missing[0]}, which "
            f"Chorale needs (tested with {TESTED}); type: pip install "
            f"'pytorch-lightning=={TESTED}.*'"
        )
    epoch_loop.advance, epoch_loop.on_advance_end = run_epoch, _nothing


def leave_signals_alone(trainer: pl.Trainer) -> None:
    """Keeps a trainer from replacing signal handlers, and from querying each of the 64 signals."""
    connector = getattr(trainer, "_signal_connector", None)
    if connector is not None:
        vars(connector)["register_signal_handlers"] = vars(connector)["teardown"] = _nothing


def _nothing(*_: object) -> None:
    """Replaces a function of Lightning."""


def cache_entry_points() -> None:
    """Makes Lightning search the installed packages for callbacks once, not for each Trainer.

    The search reads the metadata of every package: more than half of the fixed cost of a fit.
    Where a package does provide callbacks, each Trainer still makes its own.
    """
    from pytorch_lightning.trainer.connectors import callback_connector

    look_up = getattr(callback_connector, "_load_external_callbacks", None)
    if look_up is not None:  # another version of Lightning works, too, only slower
        vars(callback_connector)["_load_external_callbacks"] = cache_empty_result(look_up)


def cache_empty_result(look_up: Callable[[str], list[Any]]) -> Callable[[str], list[Any]]:
    """`look_up` with its empty results cached."""
    empty: set[str] = set()

    def cached(group: str) -> list[Any]:
        if group in empty:
            return []
        found = look_up(group)
        if not found:
            empty.add(group)
        return found

    return cached
