"""Contract suite of `Map`: each behaves like the builtin `map`.

The mapped functions are builtins, which any process can import.
"""

import multiprocessing
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from chorale.cluster.base import ClusterError
from chorale.cluster.transfer import maps
from chorale.cluster.transfer.maps import ITEMS_PER_WORKER, Map, process_map, ray_map

N_WORKERS = 2


def slow(result: int, seconds: float) -> str:
    """An expression that sleeps before it returns."""
    return f"(__import__('time').sleep({seconds}), {result})[1]"


def open_map(kind: str) -> AbstractContextManager[Map]:
    if kind == "process":
        return process_map(N_WORKERS)
    if kind == "ray":
        return ray_map()
    return nullcontext(map)


KINDS = ["builtin", "process", pytest.param("ray", marks=pytest.mark.ray)]


@pytest.fixture(scope="module", params=KINDS)
def mapped(request: pytest.FixtureRequest) -> Iterator[Map]:
    if request.param == "ray":
        request.getfixturevalue("private_ray")
    with open_map(request.param) as mapped:
        yield mapped


def test_results_come_in_order_though_later_items_end_sooner(mapped: Map) -> None:
    items = [slow(0, 0.5), slow(1, 0.0), slow(2, 0.2), slow(3, 0.0), slow(4, 0.0), slow(5, 0.0)]
    assert list(mapped(eval, items)) == [0, 1, 2, 3, 4, 5]


def test_no_items_give_no_results(mapped: Map) -> None:
    assert list(mapped(eval, [])) == []


def test_items_are_consumed_as_results_are(mapped: Map) -> None:
    taken = 0

    def items() -> Iterator[str]:
        nonlocal taken
        for taken in range(1, 101):
            yield str(taken)

    results = mapped(eval, items())
    assert taken == 0
    assert next(results) == 1
    assert taken <= N_WORKERS * ITEMS_PER_WORKER
    assert next(results) == 2
    assert taken <= N_WORKERS * ITEMS_PER_WORKER + 1


def test_an_exception_keeps_its_type_and_text_and_is_raised_in_order(mapped: Map) -> None:
    results = mapped(eval, [slow(1, 0.2), "{}['a key']", "3"])
    assert next(results) == 1
    with pytest.raises(KeyError) as caught:
        next(results)
    assert (type(caught.value), str(caught.value)) == (KeyError, "'a key'")


@pytest.mark.parametrize("kind", KINDS[1:])
def test_each_process_uses_one_thread(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "ray":
        request.getfixturevalue("private_ray")
    with open_map(kind) as mapped:
        name = "__import__('os').environ['OMP_NUM_THREADS']"
        assert list(mapped(eval, [name, name])) == ["1", "1"]


@pytest.mark.timeout(100)
@pytest.mark.parametrize("kind", KINDS[1:])
def test_ctrl_c_leaves_the_block_at_once_and_frees_the_workers(
    kind: str, request: pytest.FixtureRequest
) -> None:
    if kind == "ray":
        request.getfixturevalue("private_ray")
    before = multiprocessing.active_children()

    def press_ctrl_c() -> None:
        with open_map(kind) as mapped:
            results = mapped(eval, ["1", slow(2, 500.0), slow(3, 500.0)])
            assert next(results) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        press_ctrl_c()
    with open_map(kind) as mapped:
        assert list(mapped(eval, ["4"])) == [4]
    assert [child for child in multiprocessing.active_children() if child not in before] == []


def test_a_process_that_dies_is_reported_with_a_remedy() -> None:
    with process_map(N_WORKERS) as mapped, pytest.raises(ClusterError, match="n_workers=2"):
        list(mapped(eval, ["1", "__import__('os')._exit(1)"]))


@pytest.mark.ray
@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("LocalRayletDiedError", "raylet.* does not answer .*; start again"),
        ("WorkerCrashedError", "a worker died at each attempt, .*the item was '1'"),
    ],
)
def test_the_death_of_ray_or_a_worker_is_reported_with_its_cause(
    private_ray: None, monkeypatch: pytest.MonkeyPatch, error: str, message: str
) -> None:
    import ray

    def fail(_: object) -> None:
        raise getattr(ray.exceptions, error)

    monkeypatch.setattr(maps, "RETRY_PAUSE_S", 0.01)
    monkeypatch.setattr(ray, "get", fail)
    with ray_map() as mapped, pytest.raises(ClusterError, match=message):
        list(mapped(eval, ["1"]))


@pytest.mark.ray
def test_an_item_is_resubmitted_when_ray_does_not_answer(
    private_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    get, n_asked = ray.get, 0

    def answer_at_the_third_time(reference: Any) -> Any:
        nonlocal n_asked
        n_asked += 1
        if n_asked < 3:
            raise ray.exceptions.LocalRayletDiedError
        return get(reference)

    monkeypatch.setattr(maps, "RETRY_PAUSE_S", 0.01)
    monkeypatch.setattr(ray, "get", answer_at_the_third_time)
    with ray_map() as mapped:
        assert list(mapped(eval, ["1", "2"])) == [1, 2]
    assert n_asked == 4


def test_one_worker_is_the_builtin_map() -> None:
    with process_map(1) as mapped:
        assert mapped is map


def test_no_worker_is_refused() -> None:
    with pytest.raises(ClusterError, match="but got n_workers=0"), process_map(0):
        pass
