"""The processes that decode for a server: asked one recording at a time, ended where they hang."""

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
from chorale.search.champion.serve.decoding import work
from chorale.search.champion.serve.limits import Limits, Refused, of_audio

START_S = 60.0
"""How long a new process may take until it can be asked, on a busy machine."""


class Decoder:
    """Some processes that decode, started by `start`, or when they are first needed."""

    def __init__(self, limits: Limits, *, n_processes: int) -> None:
        self._limits = limits
        self._threads = ThreadPoolExecutor(n_processes, thread_name_prefix="decode")
        self._idle: SimpleQueue[_Child] = SimpleQueue()
        self._all = [_Child() for _ in range(n_processes)]
        for child in self._all:
            self._idle.put(child)

    async def start(self) -> None:
        """Starts the processes; returns when they can be asked."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(self._threads, child.start) for child in self._all)
        )

    async def decode(self, path: str) -> tuple[NDArray[np.float32], int]:
        """The waveform, float32 (n_samples,), and its rate in Hz.

        Raises:
            Refused: it is no audio that can be used, or too long, or takes too long.
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
            except (EOFError, OSError) as error:  # nothing that the recording did
                child.end()
                raise Refused(
                    503, "no decoder", "the process that decodes does not start; try again later"
                ) from error
            try:
                said, detail = child.ask((path, self._limits.duration_s), self._limits.decode_s)
                if detail is not None:
                    raise of_audio(AudioError(path, str(said), str(detail)))
                samples = child.receive(self._limits.decode_s)
            except TimeoutError:
                child.end()
                detail = f"it could not be decoded within {self._limits.decode_s:g} s"
                raise Refused(422, "too slow to decode", detail) from None
            except (EOFError, OSError):  # the process died of it
                child.end()
                raise Refused(415, "undecodable", "the decoder broke down over it") from None
        return np.frombuffer(samples, np.float32).copy(), int(str(said))  # bytes are read-only

    @contextmanager
    def _child(self) -> Iterator["_Child"]:
        child = self._idle.get()
        try:
            yield child
        finally:
            self._idle.put(child)


class _Child:
    """One process, or none as long as nobody asks."""

    def __init__(self) -> None:
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def start(self) -> Connection:
        """The connection to a process that listens.

        Raises:
            EOFError: it ended at once.
            TimeoutError: it does not say that it listens.
        """
        if self._connection is not None and self._process is not None and self._process.is_alive():
            return self._connection
        self.end()
        connection = self._start()
        if not connection.poll(START_S):
            raise TimeoutError
        connection.recv()
        return connection

    def ask(self, what: tuple[str, float], wait_s: float) -> tuple[object, object]:
        connection = self.start()
        connection.send(what)
        if not connection.poll(wait_s):
            raise TimeoutError
        said, detail = connection.recv()
        return said, detail

    def receive(self, wait_s: float) -> bytes:
        if self._connection is None:
            raise EOFError
        if not self._connection.poll(wait_s):
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
        self._process = context.Process(target=work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        return self._connection
