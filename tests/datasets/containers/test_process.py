"""What a hostile file may do to the decoder process, simulated by programs instead of files."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from chorale.datasets.audio_formats import MP4
from chorale.datasets.containers import sound
from chorale.datasets.containers.process import ContainerError, DecoderProcess
from tests.benchmarks.bench_decoders import ENCODINGS, chirp, encode

REQUEST = {"demuxer": "mov", "max_frames": 10**9, "max_duration_s": 10_000}
PROGRAM = """
    import os, signal, socket, sys, time
    from chorale.datasets.containers import decoding, limits
    from chorale.datasets.processes.messages import receive_file, receive_json, send_json

    os.dup2(int(sys.argv[1]), 3)
    channel = socket.socket(fileno=3)
    os.closerange(4, 64)
    limits.limit_decoder()
    send_json(channel, {"ready": True})
    request = receive_json(channel)
    file = os.fdopen(receive_file(channel), "rb")
    limits.limit_file()
"""


@contextmanager
def running(tmp_path: Path, job: str, *, wait_s: float = 30) -> Iterator[DecoderProcess]:
    """A process that does `job` with the file that it is sent."""
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM) + textwrap.dedent(job))
    process = DecoderProcess([str(program)], wait_s=wait_s)
    try:
        yield process
    finally:
        process.end()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[IO[bytes]]:
    (tmp_path / "t.m4a").write_bytes(encode(ENCODINGS["m4a"], chirp(0.2, 44_100, 2)))
    with (tmp_path / "t.m4a").open("rb") as raw:
        yield raw


@pytest.mark.parametrize(
    ("job", "detail"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"crashed the decoder process \(SIGSEGV\)"),
        ("os.abort()", r"crashed the decoder process \(SIGABRT\)"),
        ("os._exit(7)", r"failed on it \(7\)"),
        ("raise KeyError(1)", r"failed on it \(1\)"),
        ("channel.sendall(b'x' * 100); time.sleep(60)", "failed on it"),
        (
            "signal.setitimer(signal.ITIMER_PROF, 0.1)\nwhile True: pass",
            "no sample was decoded within 2 s of processor time",
        ),
        (
            "import resource\n"
            "resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\n"
            "while True: limits.note_progress()",
            "takes more than 120 s of processor time",
        ),
    ],
)
def test_the_end_of_the_process_is_one_error(
    tmp_path: Path, file: IO[bytes], job: str, detail: str
) -> None:
    with running(tmp_path, job) as process:
        with pytest.raises(ContainerError, match=detail) as caught:
            process.header(file, REQUEST)
        assert caught.value.problem == "undecodable"
        assert not process.is_running


def test_a_process_that_waits_is_ended(tmp_path: Path, file: IO[bytes]) -> None:
    with running(tmp_path, "time.sleep(60)", wait_s=2) as process:
        with pytest.raises(ContainerError, match="sent nothing for 2 s"):
            process.header(file, REQUEST)
        assert not process.is_running


def test_a_file_has_its_time_without_progress_from_its_start(
    tmp_path: Path, file: IO[bytes]
) -> None:
    job = "send_json(channel, {'left_s': signal.getitimer(signal.ITIMER_PROF)[0]}); time.sleep(9)"
    with running(tmp_path, job) as process:
        assert 1.5 < process.header(file, REQUEST)["left_s"] < 2.1


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        ("bytearray(2**30)", "MemoryError"),
        ("open('/dev/null')", "OSError"),
        ("socket.socket()", "OSError"),
        ("os.dup(0)", "OSError"),
        ("os.pwrite(os.open('/dev/null', 0), b'', 0)", "OSError"),
    ],
)
def test_the_process_can_take_no_more_memory_and_open_nothing(
    tmp_path: Path, file: IO[bytes], attempt: str, error: str
) -> None:
    job = f"""
    try:
        {attempt}
        failed = ""
    except Exception as error:
        failed = [kind.__name__ for kind in type(error).__mro__]
    send_json(channel, {{"failed": failed}})
    time.sleep(9)
    """
    with running(tmp_path, job) as process:
        assert error in process.header(file, REQUEST)["failed"]


def test_what_takes_too_much_memory_is_one_error(tmp_path: Path, file: IO[bytes]) -> None:
    job = """
    def hungry(*args, **kwargs):
        return bytearray(2**30)

    decoding.av.open = hungry
    try:
        next(decoding.decode_container(file, "mov", limits.note_progress))
    except decoding.RefusedFile as refusal:
        send_json(channel, {"refused": str(refusal)})
    time.sleep(9)
    """
    with (
        running(tmp_path, job) as process,
        pytest.raises(ContainerError, match="takes more than 512 MB of memory"),
    ):
        process.header(file, REQUEST)


def test_a_process_that_ended_is_replaced(file: IO[bytes]) -> None:
    limits = {"max_frames": 10**9, "max_duration_s": 10_000}
    before = sound.ContainerSound(file, MP4, **limits)
    ended = sound._idle[-1]
    ended.end()
    assert sound.ContainerSound(file, MP4, **limits).frames == before.frames
    assert sound._idle[-1] is not ended
    assert ended not in sound._idle


def test_the_process_ends_with_its_caller(file: IO[bytes]) -> None:
    process = DecoderProcess()
    assert process.header(file, REQUEST)["sample_rate"] == 44_100
    process.forget()  # closes the socket, as the end of the caller does
    assert process._process.wait(20) == 0
