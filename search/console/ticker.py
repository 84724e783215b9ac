"""Keep-alive output: prints a status line whenever nothing was printed for some seconds.

A `StatusTicker` observes everything that is printed on its console, so it adds nothing to a stage
that prints by itself. `search.console.progress` defines the status line. A console has one ticker
at a time, however many nested commands print on it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleRenderable, RenderHook

from chorale.datasets.decoding.messages import DISPLAY_THREAD

MAX_SILENCE_S = 8.0
"""Below ten seconds, so that a user never waits longer for output."""

StatusPrinter = Callable[[], None]


class StatusTicker(RenderHook):
    """A thread that prints on a console when nothing else does."""

    def __init__(self, console: Console, *, max_silence_s: float = MAX_SILENCE_S) -> None:
        """Prints nothing until the context is entered."""
        self._console, self._max_silence_s = console, max_silence_s
        self._printed = time.perf_counter()
        self._printers: list[StatusPrinter] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._depth = 0

    @classmethod
    def of(cls, console: Console) -> "StatusTicker":
        """The active ticker of a console, or else a new one."""
        return _ACTIVE.get(console) or cls(console)

    def __enter__(self) -> "StatusTicker":
        self._depth += 1
        if self._depth > 1:
            return self
        _ACTIVE[self._console] = self
        self._printed = time.perf_counter()
        self._over = threading.Event()
        self._console.push_render_hook(self)
        self._thread = threading.Thread(target=self._tick, name=DISPLAY_THREAD, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth:
            return
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        _ACTIVE.pop(self._console, None)
        self._console.pop_render_hook()

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Called by the console for everything that is printed; changes nothing."""
        self._printed = time.perf_counter()
        return renderables

    @contextmanager
    def printing(self, printer: StatusPrinter) -> Iterator[None]:
        """Uses `printer` in the block; of nested blocks the innermost one counts."""
        with self._lock:
            self._printers.append(printer)
        try:
            yield
        finally:
            with self._lock:  # not during a call: its display may be closed afterwards
                self._printers.remove(printer)

    def _tick(self) -> None:
        while not self._over.wait(self._left_s()):
            if self._left_s() > 0:
                continue
            self._printed = time.perf_counter()  # even if the printer prints nothing
            with self._lock:
                if self._printers:
                    self._printers[-1]()

    def _left_s(self) -> float:
        return max(0.0, self._printed + self._max_silence_s - time.perf_counter())


_ACTIVE: dict[Console, StatusTicker] = {}
