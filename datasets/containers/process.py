"""The decoder process as the caller sees it: started when first needed, replaced when it ends.

A file that crashes FFmpeg, makes it hang or takes too much memory costs one process, and is one
`ContainerError`. A process decodes one file at a time; each thread borrows one of its own.
"""

import signal
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from chorale.datasets.containers.limits import FILE_CPU_S, STALL_CPU_S
from chorale.datasets.processes.messages import receive, receive_json, send_file, send_json
from chorale.datasets.processes.process import ChildProcess

WAIT_S = 60.0
"""Time without a message after which a process is ended: it waits for a file, or the machine is
very busy. Processor time without progress is limited by the process itself."""

PROGRAM = ("-m", "chorale.datasets.containers.child")

_REASONS: Mapping[int, str] = {
    signal.SIGPROF: f"no sample was decoded within {STALL_CPU_S:g} s of processor time",
    signal.SIGXCPU: f"decoding it takes more than {FILE_CPU_S} s of processor time",
}


class ContainerError(Exception):
    """A file that is not decoded: a problem of `AudioError`, and one line of detail."""

    def __init__(self, problem: str, detail: str) -> None:
        super().__init__(problem, detail)
        self.problem = problem
        self.detail = detail


class DecoderProcess(ChildProcess):
    """One decoder process.

    Args:
        program: what Python runs.
        wait_s: see `WAIT_S`.
    """

    def __init__(self, program: Sequence[str] = PROGRAM, *, wait_s: float = WAIT_S) -> None:
        super().__init__(program, wait_s=wait_s)
        self._is_ready = False

    def header(self, file: IO[bytes], request: dict[str, Any]) -> dict[str, Any]:
        """The header of a file, with the number of its frames.

        Raises:
            ContainerError: it cannot be decoded, or not within the limits.
        """
        with self._job(file, request | {"samples": False}):
            return self._answer()

    def samples(
        self, file: IO[bytes], request: dict[str, Any], n_planes: int
    ) -> Generator[list[bytes]]:
        """The bytes of each plane, block by block; raises as `header`.

        The process ends when the generator is closed before its end.
        """
        with self._job(file, request | {"samples": True}):
            while self._answer()["n_frames"]:
                yield [receive(self.channel) for _ in range(n_planes)]

    @contextmanager
    def _job(self, file: IO[bytes], request: dict[str, Any]) -> Iterator[None]:
        try:
            if not self._is_ready:
                self._receive_ready()
            send_json(self.channel, request)
            send_file(self.channel, file.fileno())
            yield
        except TimeoutError:
            self.end()
            detail = f"the decoder process sent nothing for {self.channel.gettimeout():g} s"
            raise ContainerError("undecodable", detail) from None
        except (EOFError, ConnectionError):
            raise self._death() from None
        except GeneratorExit:
            self.end()
            raise

    def _receive_ready(self) -> None:
        answer = receive_json(self.channel)
        if "no_decoder" in answer:
            self.end()
            raise ContainerError("no decoder", f"PyAV cannot be imported: {answer['no_decoder']}")
        self._is_ready = True

    def _answer(self) -> dict[str, Any]:
        while "progress" in (answer := receive_json(self.channel)):
            continue
        if "refused" in answer:
            raise ContainerError("undecodable", str(answer["refused"]))
        return answer

    def _death(self) -> ContainerError:
        code = self.exit_code()
        self.end()
        if not self._is_ready:
            return ContainerError("no decoder", f"the decoder process does not start ({code})")
        if code is None or code >= 0:
            return ContainerError("undecodable", f"the decoder process failed on it ({code})")
        name = signal.Signals(-code).name
        detail = _REASONS.get(-code, f"it crashed the decoder process ({name})")
        return ContainerError("undecodable", detail)
