import gc
from collections.abc import Iterator

import pytest

from chorale.search import collecting


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_work_brings_back_what_is_usual_and_keeps_what_was_imported() -> None:
    usual = gc.get_threshold()
    collecting.seldom()
    assert gc.get_threshold()[0] == collecting.SELDOM
    collecting.as_usual()
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() > 0


def test_a_process_that_was_not_started_for_a_command_is_left_alone() -> None:
    """Frozen garbage would never be given back, and some processes run many sweeps."""
    gc.unfreeze()
    collecting.as_usual()
    assert gc.get_freeze_count() == 0
