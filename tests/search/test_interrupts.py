"""Signals are obeyed once, raised again where they are dropped, and in the end done without."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from chorale.search import interrupts


@pytest.fixture
def _listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(interrupts, "AGAIN_S", 0.05)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interrupts.listen()
    yield
    interrupts.over()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_listening")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_interrupt_and_is_remembered(number: signal.Signals) -> None:
    assert not interrupts.received()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    interrupts.over()
    assert interrupts.received()


@pytest.mark.usefixtures("_listening")
def test_a_second_signal_does_not_break_into_leaving_in_order() -> None:
    left: list[str] = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            left.append("in order")

    with pytest.raises(KeyboardInterrupt):
        work()
    interrupts.over()
    assert left == ["in order"]


@pytest.mark.usefixtures("_listening")
def test_a_signal_that_was_dropped_is_raised_again() -> None:
    original = interrupts._interrupt
    dropped: list[int] = []

    def drop(number: int, frame: FrameType | None) -> None:
        try:
            original(number, frame)
        except KeyboardInterrupt:
            if dropped:
                raise
            dropped.append(number)  # as a finaliser does it

    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        for _ in range(1000):
            time.sleep(0.01)

    signal.signal(signal.SIGTERM, drop)
    with pytest.raises(KeyboardInterrupt):
        work()
    interrupts.over()
    assert dropped == [signal.SIGTERM]


@pytest.mark.usefixtures("_listening")
def test_a_first_signal_waits_for_the_end_of_a_transaction() -> None:
    done: list[str] = []

    def work() -> None:
        with interrupts.transaction():
            signal.raise_signal(signal.SIGINT)
            done.append("whole")
        done.append("more")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["whole"]
    with interrupts.transaction():  # what leaves everything in order is not interrupted
        done.append("left")
    interrupts.over()
    assert done == ["whole", "left"]


@pytest.mark.usefixtures("_listening")
def test_a_transaction_that_hangs_keeps_nobody() -> None:
    def work() -> None:
        with interrupts.transaction():
            signal.raise_signal(signal.SIGINT)
            for _ in range(1000):
                time.sleep(0.01)
            pytest.fail("ten seconds")

    with pytest.raises(KeyboardInterrupt):
        work()
    interrupts.over()


def _ended(program: str) -> subprocess.CompletedProcess[str]:
    """A Python process that ran a program to its end."""
    words = [sys.executable, "-c", program]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


STUBBORN = """
import signal, sys, time
from chorale.search import interrupts
interrupts.AGAIN_S = interrupts.LIMIT_S = 0.1
interrupts.listen(lambda: "cut short")
try:
    signal.raise_signal(signal.SIGTERM)
finally:
    time.sleep(100)
"""


STUBBORN_AT_EXIT = """
import atexit, signal, sys, time
from chorale.search import cli, interrupts
interrupts.AGAIN_S = interrupts.LIMIT_S = 0.2
atexit.register(time.sleep, 100)

def run(words):
    signal.raise_signal(signal.SIGTERM)

cli.COMMANDS = {"wait": cli.Command("", run)}
sys.argv = ["chorale", "wait"]
sys.exit(cli.main())
"""


def test_neither_can_its_end_take_longer() -> None:
    done = _ended(STUBBORN_AT_EXIT)
    assert done.returncode == interrupts.INTERRUPTED
    assert done.stderr == f"chorale wait: interrupted\nchorale wait: {interrupts.CUT_SHORT}\n"


def test_a_process_that_cannot_be_left_in_order_ends_all_the_same() -> None:
    done = _ended(STUBBORN)
    assert (done.returncode, done.stderr) == (interrupts.INTERRUPTED, "cut short")


AT_ITS_END = """
import atexit, gc, sys
atexit.register(print, "taken apart", flush=True)  # the first is the last to be called
from chorale.search import cli

def run(words):
    atexit.register(print, "left in order")
    assert gc.get_threshold()[0] > 10_000  # things are imported
    return 3

cli.COMMANDS = {"work": cli.Command("", run)}
sys.argv = ["chorale", "work"]
sys.exit(cli.main())
"""


def test_a_command_that_has_ended_is_not_taken_apart() -> None:
    done = _ended(AT_ITS_END)
    assert (done.returncode, done.stdout, done.stderr) == (3, "left in order\n", "")


def test_what_measures_coverage_has_its_last_word() -> None:
    traced = AT_ITS_END.replace("sys.exit(", "sys.settrace(lambda *_: None)\nsys.exit(")
    done = _ended(traced)
    assert (done.returncode, done.stdout) == (3, "left in order\ntaken apart\n")


def test_what_it_could_not_print_is_told_and_is_no_success() -> None:
    words = [sys.executable, "-c", AT_ITS_END]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
                              env=buffered, timeout=60)  # fmt: skip
    assert done.returncode == 120
    assert "No space left on device" in done.stderr


LATE = """
import sys, time
from chorale.search import interrupts

class Late:
    def __del__(self):  # when Python takes modules apart, the last thing that it does
        print("late", flush=True)
        time.sleep(1)

interrupts.listen()
kept = Late()
interrupts.leave()
sys.exit(7)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_the_very_end_leaves_the_exit_code_as_it_is(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", LATE], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"late\n"
        process.send_signal(number)
        assert process.wait(timeout=30) == 7
