import os
import socket
import textwrap
from pathlib import Path

import pytest

from chorale.datasets.processes.messages import (
    MAX_MESSAGE_BYTES,
    receive,
    receive_file,
    receive_json,
    send,
    send_file,
    send_json,
)
from chorale.datasets.processes.process import ChildProcess

ECHO = """
    import os, socket, sys
    from chorale.datasets.processes.limits import limit_cpu, limit_process, limit_stall
    from chorale.datasets.processes.messages import receive, send

    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        while True:
            request = receive(channel).decode()
            send(channel, str(eval(request)).encode())
    except EOFError:
        sys.exit(5)
"""


def _started(tmp_path: Path, wait_s: float = 30) -> ChildProcess:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(ECHO))
    return ChildProcess([str(program)], wait_s=wait_s, environment={"GIVEN": "yes"})


def _asked(process: ChildProcess, what: str) -> str:
    send(process.channel, what.encode())
    return receive(process.channel).decode()


def test_it_answers_until_it_is_ended(tmp_path: Path) -> None:
    process = _started(tmp_path)
    assert _asked(process, "os.getpid()") == str(process.pid)
    assert _asked(process, "os.environ['GIVEN']") == "yes"
    assert process.is_running
    process.end()
    assert not process.is_running


def test_it_ends_with_its_caller(tmp_path: Path) -> None:
    process = _started(tmp_path)
    assert _asked(process, "1 + 1") == "2"
    process.forget()  # closes the socket, as the end of the caller does
    assert process._process.wait(20) == 5


@pytest.mark.parametrize(
    ("job", "code"),
    [
        ("os._exit(3)", 3),
        ("os.abort()", -6),
        ("limit_stall(0.1) or any(iter(int, 1))", -27),
        ("limit_process(n_descriptors=8, memory_bytes=2**28) or bytearray(2**30)", 1),
        ("limit_process(n_descriptors=3, memory_bytes=2**28) or open('/dev/null')", 1),
    ],
)
def test_how_it_ended_is_known(tmp_path: Path, job: str, code: int) -> None:
    process = _started(tmp_path)
    with pytest.raises(EOFError):
        _asked(process, job)
    assert process.exit_code() == code
    process.end()


def test_a_process_that_sends_nothing_is_noticed(tmp_path: Path) -> None:
    process = _started(tmp_path, wait_s=1)
    send(process.channel, b"__import__('time').sleep(30)")
    with pytest.raises(TimeoutError):
        receive(process.channel)
    process.end()


def test_a_forked_process_forgets_it(tmp_path: Path) -> None:
    process = _started(tmp_path)
    assert _asked(process, "2 + 2") == "4"
    child = os.fork()
    if not child:
        os._exit(0 if process.channel.fileno() == -1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert _asked(process, "3 + 3") == "6"
    process.end()


def test_messages_arrive_as_they_were_sent(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send_json(ours, {"a": [1, None]})
        send(ours, b"\0\xff")
        with (tmp_path / "a").open("rb") as file:
            send_file(ours, file.fileno())
        assert receive_json(theirs) == {"a": [1, None]}
        assert receive(theirs) == b"\0\xff"
        with os.fdopen(receive_file(theirs), "rb") as received:
            assert received.read() == b"content"


@pytest.mark.parametrize(
    "raw",
    [
        (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"),
        b"\0\0\0\x05abc",
        b"\0\0\0\x02[]",
        b"\0\0\0\x02{]",
    ],
)
def test_what_is_no_message_is_refused(raw: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(raw)
        ours.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError):
            receive_json(theirs)
