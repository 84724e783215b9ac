"""Judges recordings that wait at the same time together: one pass of the networks for all.

It knows nothing of audio: it gathers what is asked, and asks `together` in a thread of its own.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Said = TypeVar("Said")


class Batcher(Generic[Asked, Said]):
    """One thread that answers, up to `size` questions at once.

    Nobody waits for a batch to fill: while one is answered the next one gathers.
    """

    def __init__(self, together: Callable[[Sequence[Asked]], Sequence[Said]], *, size: int) -> None:
        self._together = together
        self._size = size
        self._waiting: list[tuple[Asked, asyncio.Future[Said]]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="judge")
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, what: Asked) -> Said:
        """The answer to one question; raises what answering it raised."""
        future: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._waiting.append((what, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    def close(self) -> None:
        """Ends the thread, after what it is at."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            batch = [(what, future) for what, future in batch if not future.done()]
            for (_, future), said in zip(batch, await self._answers(batch), strict=True):
                if future.done():  # the client went away
                    continue
                if isinstance(said, BaseException):
                    future.set_exception(said)
                else:
                    future.set_result(said)

    async def _answers(
        self, batch: Sequence[tuple[Asked, "asyncio.Future[Said]"]]
    ) -> "Sequence[Said | BaseException]":
        if not batch:
            return ()
        asked = [what for what, _ in batch]
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._together, asked)
        except Exception as error:  # each one's is raised where it was asked
            if len(batch) == 1:
                return [error]
        alone = [await self._answers([one]) for one in batch]  # one bad question harms no other
        return [answers[0] for answers in alone]
