import pytest

from chorale.cluster.environment import environment, own_threads, threads


@pytest.mark.parametrize(("said", "n"), [("3", 3), ("", 1), ("many", 1), ("0", 1)])
def test_a_process_knows_how_many_threads_it_was_given(
    monkeypatch: pytest.MonkeyPatch, said: str, n: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert own_threads() == n


def test_what_is_set_for_a_block_is_what_is_read() -> None:
    before = own_threads()
    with environment(threads(5)):
        assert own_threads() == 5
    assert own_threads() == before
