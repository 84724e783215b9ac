"""The private names of Optuna that are used: all there, and named where one is missing."""

import pytest

from chorale.datasets.errors import UserError
from chorale.search.ledger import _optuna


def test_the_installed_optuna_has_every_private_name_that_is_used() -> None:
    assert _optuna.missing_optuna_names() == []
    _optuna.require_optuna_internals()


def test_a_missing_name_is_reported_with_the_release_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_optuna, "STATE", ("_moons",))
    _optuna.require_optuna_internals.cache_clear()
    with pytest.raises(UserError, match=r"lacks InMemoryStorage\._moons, .*type: pip install"):
        _optuna.require_optuna_internals()
