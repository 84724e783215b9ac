"""Pool of audio decoder processes of a server: one recording at a time each, killed on timeout."""

import asyncio
import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.audio import AudioError
from chorale.search.champion.serve.decoding import decode_requests
from chorale.search.champion.serve.limits import RefusedRequest, RequestLimits, refusal_of_audio

DECODER_START_S = 60.0
"""Maximum time until a new process is ready, on a busy machine."""


class DecoderPool:
    """Decoder processes, started by `start` or when first needed."""

    def __init__(self, limits: RequestLimits, *, n_processes: int) -> None:
        self._limits = limits
        self._threads = ThreadPoolExecutor(n_processes, thread_name_prefix="decode")
        self._idle: SimpleQueue[_DecoderProcess] = SimpleQueue()
        self._all = [_DecoderProcess() for _ in range(n_processes)]
        for child in self._all:
            self._idle.put(child)

    async def start(self) -> None:
        """Starts the processes; returns when they are ready."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(self._threads, child.start) for child in self._all)
        )

    async def decode(self, path: str) -> tuple[NDArray[np.float32], int]:
        """Decodes a file: the waveform, float32 (n_samples,), and its sample rate in Hz.

        Raises:
            RefusedRequest: it is not usable audio, too long, or takes too long to decode.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._decode, path)

    def close(self) -> None:
        """Ends the processes."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for child in self._all:
            child.end()

    def _decode(self, path: str) -> tuple[NDArray[np.float32], int]:
        with self._child() as child:
            try:
                child.start()
            except (EOFError, OSError) as error:  # not the recording's fault
                child.end()
                raise RefusedRequest(
                    503, "no decoder", "the decoder process does not start; try again later"
                ) from error
            try:
                request = (path, self._limits.duration_s)
                rate_or_problem, detail = child.decode(request, self._limits.decode_s)
                if detail is not None:
                    raise refusal_of_audio(AudioError(path, str(rate_or_problem), str(detail)))
                samples = child.receive(self._limits.decode_s)
            except TimeoutError:
                child.end()
                detail = f"it could not be decoded within {self._limits.decode_s:g} s"
                raise RefusedRequest(422, "too slow to decode", detail) from None
            except (EOFError, OSError):  # the recording crashed the process
                child.end()
                raise RefusedRequest(415, "undecodable", "the decoder crashed on it") from None
        waveform = np.frombuffer(samples, np.float32).copy()  # bytes are read-only
        return waveform, int(str(rate_or_problem))

    @contextmanager
    def _child(self) -> Iterator["_DecoderProcess"]:
        child = self._idle.get()
        try:
            yield child
        finally:
            self._idle.put(child)


class _DecoderProcess:
    """One decoder process, started when first needed."""

    def __init__(self) -> None:
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def start(self) -> Connection:
        """The connection to a running process that is ready.

        Raises:
            EOFError: it ended at once.
            TimeoutError: it did not become ready.
        """
        if self._connection is not None and self._process is not None and self._process.is_alive():
            return self._connection
        self.end()
        connection = self._start()
        if not connection.poll(DECODER_START_S):
            raise TimeoutError
        connection.recv()
        return connection

    def decode(self, request: tuple[str, float], timeout_s: float) -> tuple[object, object]:
        connection = self.start()
        connection.send(request)
        if not connection.poll(timeout_s):
            raise TimeoutError
        rate_or_problem, detail = connection.recv()
        return rate_or_problem, detail

    def receive(self, timeout_s: float) -> bytes:
        if self._connection is None:
            raise EOFError
        if not self._connection.poll(timeout_s):
            raise TimeoutError
        return self._connection.recv_bytes()

    def end(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            if self._process is not None:
                self._process.kill()
                with suppress(ValueError, AssertionError):
                    self._process.join(5)
            self._process = self._connection = None

    def _start(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=decode_requests, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        return self._connection
