"""Prediction service: from an uploaded file to the JSON answer, decoded and predicted in batches.

It stands between the app, which speaks HTTP, and the predictor, which knows no server.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chorale.search.bundle.loading import Waveform
from chorale.search.bundle.predictor import Predictor, TrackPrediction
from chorale.search.champion.serve.batcher import MicroBatcher
from chorale.search.champion.serve.decoder import DecoderPool
from chorale.search.champion.serve.limits import RequestLimits
from chorale.search.champion.serve.shadow import Shadow

N_SIMILAR = 3
MAX_TIMELINE_SEGMENTS = 400
"""Maximum number of a timeline's segments; those of a long recording become longer."""


class SimilarTracks(Protocol):
    """A source of similar tracks."""

    def similar(self, embedding: NDArray[np.float32], n: int) -> Sequence[dict[str, Any]]:
        """The `n` nearest tracks, nearest first: `track`, `artist`, `label`, `similarity`."""
        ...


@dataclass(frozen=True)
class PredictionOptions:
    """What an answer contains: `top` labels, and where not None, a timeline and waveform peaks."""

    top: int = 3
    segment_s: float | None = None
    n_peaks: int | None = None


class PredictionService:
    """Answers requests with a loaded bundle."""

    def __init__(
        self,
        predictor: Predictor,
        *,
        limits: RequestLimits,
        library: SimilarTracks | None,
        n_decoders: int = 1,
        observe: Callable[[TrackPrediction], None] = lambda _: None,
        shadow: Shadow | None = None,
    ) -> None:
        """`observe` gets the prediction for each recording; `shadow` predicts it again."""
        self.predictor, self._observe, self._shadow = predictor, observe, shadow
        self._library = library
        self._decoder = DecoderPool(limits, n_processes=n_decoders)
        self._batcher: MicroBatcher[tuple[Waveform, int], TrackPrediction] = MicroBatcher(
            predictor.predict_waveforms, size=limits.batch
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="timeline")
        # waveforms are large: no more are decoded than one batch and the next need
        self._decoded = asyncio.Semaphore(limits.batch + n_decoders)

    async def start(self) -> None:
        """Starts the decoder processes; returns when they are ready."""
        await self._decoder.start()

    async def predict(self, path: str, options: PredictionOptions) -> dict[str, Any]:
        """The JSON answer for a file.

        Raises:
            Refused: it is not usable audio.
        """
        from chorale.search.bundle.prediction_json import predicted_labels, prediction_json

        async with self._decoded:
            waveform, sample_rate = await self._decoder.decode(path)
            prediction = await self._batcher.submit((waveform, sample_rate))
            self._observe(prediction)
            labels = self.predictor.labels
            answer = prediction_json(prediction, labels, top=options.top)
            answer["duration_s"] = round(len(waveform) / sample_rate, 3)
            answer["sample_rate"] = sample_rate
            loop = asyncio.get_running_loop()
            if options.segment_s is not None:
                segment_s = max(options.segment_s, answer["duration_s"] / MAX_TIMELINE_SEGMENTS)
                segments = await loop.run_in_executor(
                    self._thread,
                    lambda: self.predictor.timeline(waveform, sample_rate, segment_s=segment_s),
                )
                answer["timeline"] = [
                    {"start_s": round(one.start_s, 3), "end_s": round(one.end_s, 3)}
                    | prediction_json(one.prediction, labels, top=options.top)
                    for one in segments
                ]
            if options.n_peaks is not None:
                answer["peaks"] = peaks(waveform, options.n_peaks)
            if self._library is not None:
                answer["similar"] = self._library.similar(prediction.embedding, N_SIMILAR)
            if self._shadow is not None:
                self._shadow.submit(waveform, sample_rate, predicted_labels(answer))
        return answer

    def close(self) -> None:
        """Ends threads and processes."""
        self._batcher.close()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._decoder.close()


def peaks(waveform: NDArray[np.float32], n: int) -> list[float]:
    """Waveform peaks: the maximum amplitude of each of up to `n` equal parts, scaled to 1."""
    n = min(n, len(waveform))
    edges = np.arange(n) * len(waveform) // n
    found = np.maximum.reduceat(np.abs(waveform), edges)
    return [round(float(one), 3) for one in found / max(float(found.max()), 1e-9)]
