"""Parallel `map` over processes of this machine or Ray tasks, for feature extraction and the like.

Both maps are lazy and keep the order. Code that processes chunks takes a `Map` and does not know
where it runs; the builtin `map` is one as well.
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
from chorale.cluster.environment import set_variables, thread_variables

T = TypeVar("T")
R = TypeVar("R")

ITEMS_PER_WORKER = 2
"""Items in flight per worker: one being processed, one queued."""

MAX_RETRIES, RETRY_PAUSE_S = 3, 3.0
"""How often an item is resubmitted when its worker died, or Ray does not answer; and in the latter
case after how many seconds."""


class Map(Protocol):
    """Calls a function on each item and yields the results in order, as the builtin `map` does."""

    def __call__(self, fn: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        """Yields `fn(item)` for each item; raises what `fn` raised when it is that item's turn."""
        ...


@contextmanager
def process_map(n_workers: int) -> Iterator[Map]:
    """A map over `n_workers` processes with one thread each; with one worker, the builtin `map`.

    Function, items and results must be picklable. Items are consumed as results are: at most
    `ITEMS_PER_WORKER` per worker are in flight. An exception in the block stops the processes at
    once.

    Raises:
        ClusterError: `n_workers` is below 1, or, in the map: a process died.
    """
    if n_workers < 1:
        raise ClusterError(f"n_workers must be 1 or more, but got {n_workers=}")
    if n_workers == 1:
        yield map
        return
    # Spawned, not forked: a fork copies the locks of torch's and OpenMP's threads in any state.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(n_workers, context, _serve_parent)

    def mapped(fn: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        def begin(item: T) -> Callable[[], R]:
            with set_variables(thread_variables(1)):  # the pool may start a process here
                return pool.submit(fn, item).result

        try:
            yield from _in_order(begin, items, lambda: n_workers * ITEMS_PER_WORKER)
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

    Function, items and results must be picklable. Items are consumed as results are: at most
    `ITEMS_PER_WORKER` per CPU of the cluster at that moment are in flight. A relative path means
    the same file in a worker as here. If a node dies, its items are processed again on another one.
    Leaving the block cancels running tasks.

    Raises:
        ClusterError: in the map: an item's worker died at each attempt, or Ray's raylet died, or a
            node lacks a folder that this process has.
    """
    import ray
    from ray.exceptions import LocalRayletDiedError, RayError, RayTaskError

    from chorale.cluster.connection.nodes import death_reasons, n_slots

    running: set[Any] = set()

    def finish(task: Any, reference: Any, item: Any, *, n_retries: int = MAX_RETRIES) -> Any:
        try:
            return ray.get(reference)
        except RayTaskError as error:
            raise _missing_folder_error(error.cause) or error.cause from error
        except LocalRayletDiedError as error:
            if n_retries:  # busy raylets were seen to answer a moment later
                time.sleep(RETRY_PAUSE_S)
                running.add(retry := task.remote(item))
                return finish(task, retry, item, n_retries=n_retries - 1)
            raise ClusterError(
                f"Ray's own process on this node (the raylet) ended, or does not answer "
                f"({death_reasons() or 'Ray gives no reason'}); start again, with fewer other "
                f"processes on this machine"
            ) from error
        except RayError as error:
            raise ClusterError(
                f"a worker died at each attempt, most likely because memory ran out; "
                f"use nodes with more memory per CPU ({type(error).__name__}; "
                f"the item was {reprlib.repr(item)})"
            ) from error
        finally:
            running.discard(reference)

    def mapped(fn: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        here = Path.cwd()

        def work(item: T) -> R:
            with _in_folder(here):
                return fn(item)

        # Ray accepts plain functions only, no `functools.partial`
        task = ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(work)

        def begin(item: T) -> Callable[[], R]:
            reference = task.remote(item)
            running.add(reference)
            return lambda: finish(task, reference, item)

        yield from _in_order(begin, items, lambda: n_slots(Resources()) * ITEMS_PER_WORKER)

    try:
        yield mapped
    finally:
        for reference in running:
            ray.cancel(reference, force=True)


def _in_order(
    begin: Callable[[T], Callable[[], R]], items: Iterable[T], n_ahead: Callable[[], int]
) -> Iterator[R]:
    """Yields results in order, with up to `n_ahead()` items in flight.

    `begin` submits an item and returns the function that waits for its result. `n_ahead` is called
    for each item: nodes come and go.
    """
    waiting: deque[Callable[[], R]] = deque()
    for item in items:
        waiting.append(begin(item))
        while waiting and len(waiting) >= n_ahead():
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def _in_folder(folder: Path) -> AbstractContextManager[None]:
    """Changes a worker to the driver's working directory, if its node has it."""
    return chdir(folder) if folder.is_dir() else nullcontext()


def _missing_folder_error(cause: BaseException) -> ClusterError | None:
    """The error for a worker that misses a file whose folder exists for this process, else None."""
    if not isinstance(cause, FileNotFoundError) or not isinstance(cause.filename, str):
        return None
    folder = Path(cause.filename).absolute().parent
    if not folder.is_dir():
        return None
    return ClusterError(
        f"a node of the cluster does not see '{cause.filename}', though the driver sees "
        f"'{folder}'; keep data and results in a folder that all nodes share under one path, and "
        f"give that path as an absolute one"
    )


def _serve_parent() -> None:
    """Ignores Ctrl-C, which a terminal sends to every process: the parent handles it.

    Ends the worker with its parent, even if that is killed.
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
