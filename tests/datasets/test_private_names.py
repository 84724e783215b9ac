"""Private attributes of other libraries: read, or an error that says which release has them."""

from types import SimpleNamespace

import pytest

from chorale.datasets.errors import UserError
from chorale.datasets.private_names import private_attribute


def test_a_private_attribute_is_read() -> None:
    owner = SimpleNamespace(_rows=3)
    assert private_attribute(owner, "_rows", distribution="numpy", tested="2.4") == 3


def test_a_missing_attribute_is_reported_with_the_release_to_install() -> None:
    with pytest.raises(UserError, match=r"numpy .* has no SimpleNamespace._x, .*'numpy==2.4.\*'"):
        private_attribute(SimpleNamespace(), "_x", distribution="numpy", tested="2.4")
