"""Signal handling: interrupts are raised once, again where dropped, and end the process in time."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from optuna.distributions import FloatDistribution

from chorale.search import interrupts


@pytest.fixture
def _handlers_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(interrupts, "RAISE_AGAIN_S", 0.05)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interrupts.install_handlers()
    yield
    interrupts.finish()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers_installed")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_raises_keyboard_interrupt_and_is_recorded(number: signal.Signals) -> None:
    assert not interrupts.was_interrupted()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    interrupts.finish()
    assert interrupts.was_interrupted()


@pytest.mark.usefixtures("_handlers_installed")
def test_a_second_signal_does_not_interrupt_the_clean_up() -> None:
    left: list[str] = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGINT)
            left.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        work()
    interrupts.finish()
    assert left == ["cleaned up"]


@pytest.mark.usefixtures("_handlers_installed")
def test_a_dropped_interrupt_is_raised_again() -> None:
    original = interrupts._interrupt
    dropped: list[int] = []

    def drop(number: int, frame: FrameType | None) -> None:
        try:
            original(number, frame)
        except KeyboardInterrupt:
            if dropped:
                raise
            dropped.append(number)  # as in a finaliser

    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        for _ in range(1000):
            time.sleep(0.01)

    signal.signal(signal.SIGTERM, drop)
    with pytest.raises(KeyboardInterrupt):
        work()
    interrupts.finish()
    assert dropped == [signal.SIGTERM]


@pytest.mark.usefixtures("_handlers_installed")
def test_a_first_signal_in_a_transaction_is_deferred_to_its_end() -> None:
    done: list[str] = []

    def work() -> None:
        with interrupts.deferred():
            signal.raise_signal(signal.SIGINT)
            done.append("transaction")
        done.append("more")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["transaction"]
    with interrupts.deferred():  # the clean-up is not interrupted
        done.append("clean-up")
    interrupts.finish()
    assert done == ["transaction", "clean-up"]


@pytest.mark.usefixtures("_handlers_installed")
def test_a_signal_in_compiled_code_that_drops_it_is_raised_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from scipy.stats import qmc

    from chorale.search.study.samplers.quasi_random import QuasiRandomSampler

    make = qmc.Sobol

    def make_during_a_signal(*args: Any, **options: Any) -> Any:
        with contextlib.suppress(KeyboardInterrupt):  # as SciPy's does, with a traceback
            signal.raise_signal(signal.SIGINT)
        return make(*args, **options)

    monkeypatch.setattr(qmc, "Sobol", make_during_a_signal)
    with pytest.raises(KeyboardInterrupt):
        QuasiRandomSampler(["lr"], seed=0).value(3, "lr", FloatDistribution(0.0, 1.0))
    interrupts.finish()


@pytest.mark.usefixtures("_handlers_installed")
def test_a_block_within_another_does_not_end_the_deferral() -> None:
    done: list[str] = []

    def work() -> None:
        with interrupts.deferred():
            with interrupts.deferred():
                signal.raise_signal(signal.SIGINT)
            done.append("inner block")

    with pytest.raises(KeyboardInterrupt):
        work()
    interrupts.finish()
    assert done == ["inner block"]


@pytest.mark.usefixtures("_handlers_installed")
def test_a_transaction_that_hangs_does_not_block_the_exit() -> None:
    def work() -> None:
        with interrupts.deferred():
            signal.raise_signal(signal.SIGINT)
            for _ in range(1000):
                time.sleep(0.01)
            pytest.fail("still in the transaction after ten seconds")

    with pytest.raises(KeyboardInterrupt):
        work()
    interrupts.finish()


def _run_program(program: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a Python process of its own."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


STUBBORN = """
import signal, sys, time
from chorale.search import interrupts
interrupts.RAISE_AGAIN_S = interrupts.GRACE_PERIOD_S = 0.1
interrupts.install_handlers(lambda: "grace period over")
try:
    signal.raise_signal(signal.SIGTERM)
finally:
    time.sleep(100)
"""


STUBBORN_AT_EXIT = """
import atexit, signal, sys, time, types
import click
from chorale.search import cli, interrupts
interrupts.RAISE_AGAIN_S = interrupts.GRACE_PERIOD_S = 0.2
atexit.register(time.sleep, 100)

def run():
    signal.raise_signal(signal.SIGTERM)

command = types.SimpleNamespace(run=click.Command("list", callback=run))
sys.modules["chorale.search.commands.list"] = command
sys.argv = ["chorale", "list"]
sys.exit(cli.main())
"""


def test_the_grace_period_covers_exit_handlers() -> None:
    done = _run_program(STUBBORN_AT_EXIT)
    assert done.returncode == interrupts.EXIT_INTERRUPTED
    assert (
        done.stderr == f"chorale list: interrupted\nchorale list: {interrupts.GRACE_PERIOD_OVER}\n"
    )


def test_a_clean_up_that_hangs_is_ended_after_the_grace_period() -> None:
    done = _run_program(STUBBORN)
    assert (done.returncode, done.stderr) == (interrupts.EXIT_INTERRUPTED, "grace period over")


ENDS_WITH_3 = """
import atexit, gc, sys
atexit.register(print, "torn down", flush=True)  # registered first, called last
import types
import click
from chorale.search import cli

def run():
    atexit.register(print, "exit handler")
    assert gc.get_threshold()[0] > 10_000  # as during imports
    return 3

command = types.SimpleNamespace(run=click.Command("list", callback=run))
sys.modules["chorale.search.commands.list"] = command
sys.argv = ["chorale", "list"]
sys.exit(cli.main())
"""


def test_the_interpreters_teardown_is_skipped() -> None:
    done = _run_program(ENDS_WITH_3)
    assert (done.returncode, done.stdout, done.stderr) == (3, "exit handler\n", "")


def test_a_tracer_such_as_coverage_still_runs_its_exit_handler() -> None:
    traced = ENDS_WITH_3.replace("sys.exit(", "sys.settrace(lambda *_: None)\nsys.exit(")
    done = _run_program(traced)
    assert (done.returncode, done.stdout) == (3, "exit handler\ntorn down\n")


def test_output_that_cannot_be_written_is_reported_and_fails() -> None:
    command = [sys.executable, "-c", ENDS_WITH_3]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
                              env=buffered, timeout=60)  # fmt: skip
    assert done.returncode == 120
    assert "No space left on device" in done.stderr


SLOW_TEARDOWN = """
import sys, time
from chorale.search import interrupts

class Late:
    def __del__(self):  # called when Python clears modules, at the end of its teardown
        print("late", flush=True)
        time.sleep(1)

interrupts.install_handlers()
kept = Late()
interrupts.prepare_exit()
sys.exit(7)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_teardown_does_not_change_the_exit_code(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", SLOW_TEARDOWN], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"late\n"
        process.send_signal(number)
        assert process.wait(timeout=30) == 7
