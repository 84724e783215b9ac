"""Decodes recordings in a process of its own: what it is given is whatever a stranger sent.

A decoder that crashes or hangs takes this process with it and not the server, which starts another
one (`search.champion.serve.decoder`).
"""

import os
import sys
from multiprocessing.connection import Connection

from chorale.datasets import audio
from chorale.datasets.audio import AudioError
from chorale.search.champion.serve.limits import MAX_RATE


def work(connection: Connection) -> None:
    """Takes (path, the longest duration in seconds) until the other end is closed.

    Says None first, when it listens. Answers with (sample rate, None) and then the samples as
    bytes, or with (problem, detail).
    """
    _hush()
    connection.send(None)
    while True:
        try:
            path, duration_s = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            _refuse_long(path, duration_s)
            waveform, sample_rate = audio.load(path)
        except AudioError as error:
            connection.send((error.problem, error.detail))
            continue
        except MemoryError:
            connection.send(("too long", "it needs more memory than there is"))
            continue
        connection.send((sample_rate, None))
        connection.send_bytes(waveform.tobytes())


def _hush() -> None:
    """Libraries write to file 2 what they think of a file; Python's traces still go there."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _refuse_long(path: str, duration_s: float) -> None:
    header = audio.inspect(path)
    if header.duration_s > duration_s or header.n_frames > duration_s * MAX_RATE:
        raise AudioError(
            path, "too long",
            f"{header.duration_s:.0f} s at {header.sample_rate} Hz; at most {duration_s:g} s at up "
            f"to {MAX_RATE} Hz are taken",
        )  # fmt: skip
