"""Micro-batching: predicts for all recordings in the queue in one forward pass.

It knows nothing of audio: it collects items, and calls `predict_batch` in a thread of its own.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class MicroBatcher(Generic[Item, Result]):
    """One thread that processes up to `size` items at once.

    It does not wait for a batch to fill: while one is processed, the next one is collected.
    """

    def __init__(
        self, predict_batch: Callable[[Sequence[Item]], Sequence[Result]], *, size: int
    ) -> None:
        self._predict_batch = predict_batch
        self._size = size
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """The result for one item; raises what processing it raised."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    def close(self) -> None:
        """Ends the thread after its current batch."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            batch = [(item, future) for item, future in batch if not future.done()]
            for (_, future), result in zip(batch, await self._results(batch), strict=True):
                if future.done():  # the client went away
                    continue
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    async def _results(
        self, batch: Sequence[tuple[Item, "asyncio.Future[Result]"]]
    ) -> "Sequence[Result | BaseException]":
        if not batch:
            return ()
        items = [item for item, _ in batch]
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._predict_batch, items)
        except Exception as error:  # raised by the `submit` of its item
            if len(batch) == 1:
                return [error]
        single = [await self._results([one]) for one in batch]  # a bad item fails no other
        return [results[0] for results in single]
