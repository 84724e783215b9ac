"""`map` over many processes, for feature extraction and the like: on this machine or on Ray.

Both maps are lazy and keep the order. Code that has chunks to work on takes a `Map` and does not
know where it runs; the builtin `map` is one, too.
"""

import multiprocessing
import os
import reprlib
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, chdir, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, TypeVar

from chorale.cluster.base import ClusterError, Resources
from chorale.cluster.environment import environment, threads

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2
"""How many items are on their way for each worker: one in work, one waiting."""

N_AGAIN, PAUSE_S = 3, 3.0
"""How often, and after how many seconds, an item is given again to a Ray that does not answer."""


class Map(Protocol):
    """Calls a function on each item and yields the results in order, as the builtin `map` does."""

    def __call__(self, fn: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        """Yields `fn(item)` for each item; raises what `fn` raised when it is that item's turn."""
        ...


@contextmanager
def process_map(n_workers: int) -> Iterator[Map]:
    """A map over `n_workers` processes with one thread each; with one worker, the builtin `map`.

    Function, items and results must be picklable. Items are taken as results are: at most `AHEAD`
    for each worker are on their way. An exception in the block stops the processes at once.

    Raises:
        ClusterError: `n_workers` is below 1, or, in the map: a process died.
    """
    if n_workers < 1:
        raise ClusterError(f"n_workers must be 1 or more, but got {n_workers=}")
    if n_workers == 1:
        yield map
        return
    # Spawned and not forked: a fork copies the locks of torch's and OpenMP's threads as they are.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_workers, context, _serve_parent)

    def mapped(fn: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        def begin(item: T) -> Callable[[], R]:
            with environment(threads(1)):  # the pool starts a process when it needs one, here
                return pool.submit(fn, item).result

        try:
            yield from _in_order(begin, items, lambda: n_workers * AHEAD)
        except BrokenProcessPool as error:
            raise ClusterError(
                f"a worker process died, most likely because memory ran out; "
                f"use fewer processes than {n_workers=}"
            ) from error

    try:
        yield mapped
    except BaseException:
        _stop_at_once(pool)
        raise
    pool.shutdown(cancel_futures=True)


@contextmanager
def ray_map() -> Iterator[Map]:
    """A map over tasks of one CPU each on the cluster that this process is connected to.

    Function, items and results must be picklable. Items are taken as results are: at most `AHEAD`
    for each CPU that the cluster has at that moment are on their way. A relative path means the
    same file in a worker as here. What a node was at when it died is done again by another one.
    Leaving the block cancels what still runs.

    Raises:
        ClusterError: in the map: an item's worker died, as often as it was tried, or Ray did, or a
            node lacks a folder that this process has.
    """
    import ray
    from ray.exceptions import LocalRayletDiedError, RayError, RayTaskError

    from chorale.cluster.connection.connect import n_slots

    running: set[Any] = set()

    def finish(task: Any, reference: Any, item: Any, *, n_again: int = N_AGAIN) -> Any:
        try:
            return ray.get(reference)
        except RayTaskError as error:
            raise _of_one_node(error.cause) or error.cause from error
        except LocalRayletDiedError as error:
            if n_again:  # it was seen of a busy raylet that answered a moment later
                time.sleep(PAUSE_S)
                running.add(again := task.remote(item))
                return finish(task, again, item, n_again=n_again - 1)
            raise ClusterError(
                "Ray's own process on this node (the raylet) ended, or does not answer; start "
                "again, with less beside it on this machine (why: raylet.out below Ray's "
                "temporary folder)"
            ) from error
        except RayError as error:
            raise ClusterError(
                f"a worker died at each attempt, most likely because memory ran out; "
                f"use nodes with more memory for each CPU (Ray says: {type(error).__name__}; "
                f"its work was {reprlib.repr(item)})"
            ) from error
        finally:
            running.discard(reference)

    def mapped(fn: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        here = Path.cwd()

        def work(item: T) -> R:
            with _inside(here):
                return fn(item)

        # Ray takes plain functions only, and a `functools.partial` is none
        task = ray.remote(num_cpus=1)(work)

        def begin(item: T) -> Callable[[], R]:
            reference = task.remote(item)
            running.add(reference)
            return lambda: finish(task, reference, item)

        yield from _in_order(begin, items, lambda: n_slots(Resources()) * AHEAD)

    try:
        yield mapped
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _in_order(
    begin: Callable[[T], Callable[[], R]], items: Iterable[T], n_ahead: Callable[[], int]
) -> Iterator[R]:
    """Begins items `n_ahead` of the one whose result is waited for; `begin` gives the waiting.

    `n_ahead` is asked each time: nodes come and go.
    """
    waiting: deque[Callable[[], R]] = deque()
    for item in items:
        waiting.append(begin(item))
        while waiting and len(waiting) >= n_ahead():
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def _inside(folder: Path) -> AbstractContextManager[None]:
    """A worker's own folder is another than the driver's; a node may lack the driver's."""
    return chdir(folder) if folder.is_dir() else nullcontext()


def _of_one_node(cause: BaseException) -> ClusterError | None:
    """What is wrong where a worker misses a folder that is there for this process."""
    if not isinstance(cause, FileNotFoundError) or not isinstance(cause.filename, str):
        return None
    folder = Path(cause.filename).absolute().parent
    if not folder.is_dir():
        return None
    return ClusterError(
        f"a node of the cluster does not see '{cause.filename}', though '{folder}' is there for "
        f"the process that drives it; keep data and results in a folder that all nodes share under "
        f"one path, and give that path whole, from its first '/' on"
    )


def _serve_parent() -> None:
    """Leaves Ctrl-C, which reaches every process of a terminal, to the one that the person started.

    Ends with that one, even if it is killed: nobody else would tell.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _stop_at_once(pool: ProcessPoolExecutor) -> None:
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
