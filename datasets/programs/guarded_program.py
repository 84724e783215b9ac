"""Runs tflite and ONNX files in a process of their own, which a hostile file may crash or exhaust.

The process is started when first needed, answers all inputs, and ends with its caller. A forked
caller starts another one. Whatever ends it is one `ProgramError`, and the next input starts it
again.
"""

import os
import shlex
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chorale.datasets.processes.messages import (
    MAX_MESSAGE_BYTES,
    receive,
    receive_json,
    send,
    send_file,
    send_json,
)
from chorale.datasets.processes.process import ChildProcess
from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.limits import LOAD_CPU_S, MEMORY_BYTES, PER_FILE_BYTE, RUN_CPU_S
from chorale.datasets.programs.onnx_file import check_onnx
from chorale.datasets.programs.tflite_file import check_tflite

Float32Array = npt.NDArray[np.float32]

WAIT_S = 300.0
"""Time without an answer after which the process is ended: the machine is very busy. Processor time
is limited by the process itself."""

PROGRAM = ("-m", "chorale.datasets.programs.model_child")

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # otherwise importing onnxruntime opens a database and a thread
}


@dataclass(frozen=True)
class _Kind:
    name: str
    check: Callable[[Path], None]
    module: str
    requirement: str


KINDS: Mapping[str, _Kind] = {
    ".tflite": _Kind("tflite", check_tflite, "ai_edge_litert", "ai-edge-litert>=2.1"),
    ".onnx": _Kind("onnx", check_onnx, "onnxruntime", "onnxruntime>=1.32"),
}
"""By file extension."""


def check_model_file(path: Path) -> None:
    """Checks that a tflite or ONNX file can be run, without importing its runtime.

    Raises:
        ProgramError: it is damaged, uses custom operators, or keeps weights in other files.
    """
    _kind(path).check(path)


def load_model_file(
    path: Path, *, output: str | int | None = None
) -> Callable[[Float32Array], Float32Array]:
    """An encoder in one tflite or ONNX file, on the CPU.

    It maps float32 `(n_windows, n_samples)` to `(n_windows, n_frames, n_bins)`, one window after
    the other. The file takes `(1, n_samples)` and returns `(1, n_frames, n_bins)` or `(1, n_bins)`,
    all float32.

    Args:
        path: the file.
        output: the name or the index of the output; for tflite, of any inner tensor. None: the
            first output.

    Raises:
        ProgramError: the file is damaged or unsuitable, or its runtime is not installed. The
            encoder raises it for windows on which the file fails.
    """
    program = GuardedProgram([ModelFile(path, output)])

    def encode(windows: Float32Array) -> Float32Array:
        return np.stack([_frames(program.run(0, window[None])) for window in windows])

    return encode


@dataclass(frozen=True)
class ModelFile:
    """A model file, and which of its tensors is returned (see `load_model_file`)."""

    path: Path
    output: str | int | None = None


class GuardedProgram:
    """Networks that run one after the other in one process, which a lock lends to one thread.

    Args:
        files: of the networks.
        program: what Python runs.
        wait_s: see `WAIT_S`.

    Raises:
        ProgramError: a file cannot be run (see `load_model_file`).
    """

    def __init__(
        self,
        files: Sequence[ModelFile],
        *,
        program: Sequence[str] = PROGRAM,
        wait_s: float = WAIT_S,
    ) -> None:
        self._files, self._program, self._wait_s = tuple(files), tuple(program), wait_s
        self.shapes: tuple[tuple[int | None, ...], ...] = ()
        """Of the input of each network, None for each free axis."""
        for file in files:
            check_model_file(file.path)
            kind = _kind(file.path)
            if find_spec(kind.module) is None:
                raise ProgramError(_missing(kind, "it is not installed"))
        self._forget()
        self._running()

    def run(self, model: int, array: Float32Array) -> Float32Array:
        """The output of one network.

        Args:
            model: its index.
            array: its input; its shape must fit `shapes`.

        Raises:
            ProgramError: it fails on the input, or not within the limits, or returns numbers that
                are not finite.
        """
        if self._owner != os.getpid():
            self._forget()
        with self._lock:
            result = self._running().run(model, np.ascontiguousarray(array, np.float32))
        if not np.isfinite(result).all():
            raise ProgramError("returns numbers that are not finite")
        return result

    @property
    def pid(self) -> int | None:
        """The id of the process; None while there is none."""
        return self._process.pid if self._process and self._process.is_running else None

    def _forget(self) -> None:
        self._owner, self._lock = os.getpid(), threading.Lock()
        self._process: _ModelProcess | None = None

    def _running(self) -> "_ModelProcess":
        if self._process is None or not self._process.is_running:
            kinds = ",".join(_kind(file.path).name for file in self._files)
            n_bytes = sum(file.path.stat().st_size for file in self._files)
            process = _ModelProcess(self._program, kinds, n_bytes, wait_s=self._wait_s)
            try:
                self.shapes = tuple(process.load(file) for file in self._files)
            except BaseException:
                process.end()
                raise
            weakref.finalize(self, process.end_if_ours)
            self._process = process
        return self._process


class _ModelProcess(ChildProcess):
    def __init__(self, program: Sequence[str], kinds: str, n_bytes: int, *, wait_s: float) -> None:
        super().__init__([*program, kinds, str(n_bytes)], wait_s=wait_s, environment=_ENVIRONMENT)
        self._caller = os.getpid()
        self._is_ready = False
        self._megabytes = (MEMORY_BYTES + PER_FILE_BYTE * n_bytes) // 2**20

    def end_if_ours(self) -> None:
        """Ends the process, unless it belongs to the process that this one was forked from."""
        if self._caller == os.getpid():
            self.end()

    def load(self, file: ModelFile) -> tuple[int | None, ...]:
        """Sends one more file; the shape of its input."""
        with self._one_error(f"loading it takes more than {LOAD_CPU_S} s"):
            kind = _kind(file.path)
            if not self._is_ready:
                answer = receive_json(self.channel)
                if "missing" in answer:
                    raise ProgramError(_missing(kind, str(answer["missing"])))
                self._is_ready = True
            send_json(self.channel, {"kind": kind.name, "output": file.output})
            with file.path.open("rb") as opened:
                send_file(self.channel, opened.fileno())
            return tuple(self._answer()["shape"])

    def run(self, model: int, array: Float32Array) -> Float32Array:
        """See `GuardedProgram.run`."""
        if array.nbytes > MAX_MESSAGE_BYTES:
            raise ProgramError(
                f"takes at most {MAX_MESSAGE_BYTES // 4} samples at a time, but got {array.size}"
            )
        with self._one_error(f"a window takes it more than {RUN_CPU_S} s"):
            send_json(self.channel, {"model": model, "shape": array.shape})
            send(self.channel, array.tobytes())
            shape = self._answer()["shape"]
            return np.frombuffer(receive(self.channel), np.float32).reshape(shape)

    def _answer(self) -> dict[str, Any]:
        answer = receive_json(self.channel)
        if "refused" in answer:
            raise ProgramError(" ".join(str(answer["refused"]).split()))
        return answer

    @contextmanager
    def _one_error(self, too_slow: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            waited = f"the process that runs it sent nothing for {self.channel.gettimeout():g} s"
            self.end()
            raise ProgramError(waited) from None
        except (EOFError, ConnectionError, KeyError, ValueError, TypeError):
            raise self._death(too_slow) from None
        except OSError as error:
            raise ProgramError(f"cannot be read ({error})") from None

    def _death(self, too_slow: str) -> ProgramError:
        code = self.exit_code()
        self.end()
        if not self._is_ready:
            return ProgramError(f"the process that runs it does not start ({code})")
        if code == -signal.SIGPROF:
            return ProgramError(f"{too_slow} of processor time")
        how = signal.Signals(-code).name if code is not None and code < 0 else code
        return ProgramError(
            f"crashed the process that runs it ({how}), or needs more than {self._megabytes} MB"
        )


def _kind(path: Path) -> _Kind:
    if path.suffix.lower() not in KINDS:
        raise ProgramError(f"ends with none of {', '.join(KINDS)}")
    return KINDS[path.suffix.lower()]


def _missing(kind: _Kind, why: str) -> str:
    command = shlex.join([sys.executable, "-m", "pip", "install", kind.requirement])
    return f"needs {kind.requirement.partition('>')[0]} ({why}); type: {command}"


def _frames(output: Float32Array) -> Float32Array:
    """The output for one window as `(n_frames, n_bins)`."""
    frames = output[:, None] if output.ndim == 2 else output
    if frames.ndim != 3 or len(frames) != 1 or 0 in frames.shape:
        raise ProgramError(
            f"must return (1, n_frames, n_bins) or (1, n_bins) for (1, n_samples), but it "
            f"returned {output.shape}"
        )
    return np.asarray(frames[0])
