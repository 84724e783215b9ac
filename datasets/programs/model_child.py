"""Program of the process that runs model files: answers with the outputs for the inputs it is sent.

Started by `datasets.programs.guarded_program` as `python -m ... KINDS FD`, with its end of a
socket. The first messages are the model files; then each request is one input of one of them.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from chorale.datasets.processes.limits import limit_process, limit_stall
from chorale.datasets.processes.messages import (
    MAX_MESSAGE_BYTES,
    receive,
    receive_file,
    receive_json,
    send,
    send_json,
)
from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.limits import (
    LOAD_CPU_S,
    MEMORY_BYTES,
    N_DESCRIPTORS,
    PER_FILE_BYTE,
    RUN_CPU_S,
)
from chorale.datasets.programs.runtimes import Model, RefusedError, load, warm_up

_SOCKET = 3


def serve(channel: socket.socket, n_bytes: int) -> None:
    """Loads models, then answers requests until the other end is closed.

    A request is JSON and either an open file or the values of an input, float32. The answer is
    JSON, and to an input the values of its output.

    Args:
        channel: this end of the socket.
        n_bytes: the size of the files together.
    """
    models: list[Model] = []
    memory_bytes = MEMORY_BYTES + PER_FILE_BYTE * n_bytes
    limit_process(n_descriptors=N_DESCRIPTORS, memory_bytes=memory_bytes)
    send_json(channel, {"ready": True})
    while True:
        request = receive_json(channel)
        with _answered(channel, memory_bytes // 2**20):
            if "kind" in request:
                limit_stall(LOAD_CPU_S)
                with os.fdopen(receive_file(channel), "rb") as file:
                    content = file.read()
                models.append(load(request["kind"], content, request["output"]))
                send_json(channel, {"shape": models[-1].shape})
            else:
                shape = tuple(request["shape"])
                values = np.frombuffer(receive(channel), np.float32)
                limit_stall(RUN_CPU_S)
                result = models[request["model"]].run(values.reshape(shape))
                limit_stall(0)
                if result.nbytes > MAX_MESSAGE_BYTES:
                    raise RefusedError(f"returns {result.size} values for one window")
                send_json(channel, {"shape": result.shape})
                send(channel, np.ascontiguousarray(result).tobytes())


@contextmanager
def _answered(channel: socket.socket, megabytes: int) -> Iterator[None]:
    """Answers what is refused."""
    try:
        yield
    except (RefusedError, ProgramError) as refusal:
        send_json(channel, {"refused": str(refusal)})
    except MemoryError:
        send_json(channel, {"refused": f"takes more than {megabytes} MB of memory"})
    finally:
        limit_stall(0)


def main(kinds: str, n_bytes: int, descriptor: int) -> None:
    """Limits the process once the runtimes are imported, then answers requests.

    Args:
        kinds: of the files, joined by commas.
        n_bytes: their size.
        descriptor: of the process's end of the socket.
    """
    if descriptor != _SOCKET:
        os.dup2(descriptor, _SOCKET)
        os.close(descriptor)
    with socket.socket(fileno=_SOCKET) as channel, suppress(EOFError, ConnectionError):
        try:
            for kind in kinds.split(","):
                warm_up(kind)
        except ImportError as error:
            send_json(channel, {"missing": str(error)})
            return
        serve(channel, n_bytes)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
