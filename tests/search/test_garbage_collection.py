import gc
from collections.abc import Iterator

import pytest

from chorale.search import garbage_collection


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    before, is_frozen = gc.get_threshold(), gc.get_freeze_count() > 0
    yield
    gc.set_threshold(*before)
    gc.unfreeze()
    if is_frozen:
        gc.freeze()


def test_normal_collection_restores_the_thresholds_and_freezes_what_was_imported() -> None:
    usual = gc.get_threshold()
    garbage_collection.collect_rarely()
    assert gc.get_threshold()[0] == garbage_collection.RARE_THRESHOLD
    garbage_collection.collect_normally()
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() > 0


def test_a_process_that_is_not_a_command_is_not_frozen() -> None:
    """Frozen garbage would never be freed, and some processes run many sweeps."""
    gc.unfreeze()
    garbage_collection.collect_normally()
    assert gc.get_freeze_count() == 0
