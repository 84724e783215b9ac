"""The private names of Ray that are used: all there, and named where one is missing."""

import pytest

from chorale.cluster import _ray
from chorale.cluster.base import ClusterError
from chorale.cluster.versions import missing_names


def test_the_installed_ray_has_every_private_name_that_is_used() -> None:
    assert missing_names(_ray.REQUIRED) == []
    _ray.require_ray_internals()


def test_a_missing_name_is_reported_with_the_release_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_ray, "REQUIRED", ("ray._private.node:Node.fly", "ray._private.moon:x"))
    _ray.require_ray_internals.cache_clear()
    names = r"ray\._private\.node\.Node\.fly, ray\._private\.moon\.x"
    with pytest.raises(ClusterError, match=rf"lacks {names}, .*type: .*pip install"):
        _ray.require_ray_internals()
