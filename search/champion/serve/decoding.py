"""Decodes uploaded audio in a separate process, since uploads are untrusted.

A recording that crashes or hangs the decoder affects this process only; the server starts another
one (`search.champion.serve.decoder`).
"""

import os
import sys
from multiprocessing.connection import Connection

from chorale.datasets import audio
from chorale.datasets.audio import AudioError
from chorale.search.champion.serve.limits import MAX_RATE


def decode_requests(connection: Connection) -> None:
    """Receives (path, maximum duration in seconds) until the other end is closed.

    Sends None first, when it is ready. Answers with (sample rate, None) and then the samples as
    bytes, or with (problem, detail).
    """
    silence_libraries()
    connection.send(None)
    while True:
        try:
            path, duration_s = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            waveform, sample_rate = audio.load_audio(
                path, max_duration_s=duration_s, max_samples=int(duration_s * MAX_RATE)
            )
        except AudioError as error:
            connection.send((error.problem, error.detail))
            continue
        except MemoryError:
            connection.send(("too long", "it needs more memory than is available"))
            continue
        connection.send((sample_rate, None))
        connection.send_bytes(waveform.tobytes())


def silence_libraries() -> None:
    """Drops what audio libraries write to standard error; Python's tracebacks still go there."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    os.close(devnull)
