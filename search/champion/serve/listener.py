"""From an uploaded file to what is said of it: decode, judge, timeline, neighbours.

Between the app, which speaks HTTP, and the predictor, which knows no server.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chorale.search.bundle.predictor import Guess, Predictor, Waveform
from chorale.search.champion.serve.batcher import Batcher
from chorale.search.champion.serve.decoder import Decoder
from chorale.search.champion.serve.limits import Limits

N_SIMILAR = 3
MAX_SEGMENTS = 400
"""Of a timeline: those of a long recording are longer."""


class Library(Protocol):
    """Where similar tracks are looked for."""

    def similar(self, embedding: NDArray[np.float32], n: int) -> Sequence[dict[str, Any]]:
        """The `n` nearest tracks, nearest first: `track`, `artist`, `label`, `similarity`."""
        ...


@dataclass(frozen=True)
class Wish:
    """What is asked of a recording: so many labels, and where not None, segments and peaks."""

    top: int = 3
    segment_s: float | None = None
    n_peaks: int | None = None


class Listener:
    """Answers for a loaded bundle."""

    def __init__(
        self, predictor: Predictor, *, limits: Limits, library: Library | None, n_decoders: int = 1
    ) -> None:
        self.predictor = predictor
        self.has_library = library is not None
        self._library = library
        self._decoder = Decoder(limits, n_processes=n_decoders)
        self._batcher: Batcher[tuple[Waveform, int], Guess] = Batcher(
            predictor.of_waveforms, size=limits.batch
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="timeline")
        # what is decoded is large: no more of it waits than makes one batch and the next
        self._decoded = asyncio.Semaphore(limits.batch + n_decoders)

    async def start(self) -> None:
        """Starts the processes that decode; returns when they can be asked."""
        await self._decoder.start()

    async def listen(self, path: str, wish: Wish) -> dict[str, Any]:
        """What a file is, as JSON can hold it.

        Raises:
            Refused: it gives no usable waveform.
        """
        from chorale.search.bundle.answer import guess_json

        async with self._decoded:
            waveform, sample_rate = await self._decoder.decode(path)
            guess = await self._batcher.ask((waveform, sample_rate))
            labels = self.predictor.labels
            said = guess_json(guess, labels, top=wish.top)
            said["duration_s"] = round(len(waveform) / sample_rate, 3)
            said["sample_rate"] = sample_rate
            loop = asyncio.get_running_loop()
            if wish.segment_s is not None:
                segment_s = max(wish.segment_s, said["duration_s"] / MAX_SEGMENTS)
                segments = await loop.run_in_executor(
                    self._thread,
                    lambda: self.predictor.timeline(waveform, sample_rate, segment_s=segment_s),
                )
                said["timeline"] = [
                    {"start_s": round(one.start_s, 3), "end_s": round(one.end_s, 3)}
                    | guess_json(one.guess, labels, top=wish.top)
                    for one in segments
                ]
            if wish.n_peaks is not None:
                said["peaks"] = peaks(waveform, wish.n_peaks)
            if self._library is not None:
                said["similar"] = self._library.similar(guess.embedding, N_SIMILAR)
        return said

    def close(self) -> None:
        """Ends threads and processes."""
        self._batcher.close()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._decoder.close()


def peaks(waveform: NDArray[np.float32], n: int) -> list[float]:
    """The largest absolute sample of each of up to `n` equal parts, of a waveform's largest."""
    n = min(n, len(waveform))
    edges = np.arange(n) * len(waveform) // n
    found = np.maximum.reduceat(np.abs(waveform), edges)
    return [round(float(one), 3) for one in found / max(float(found.max()), 1e-9)]
