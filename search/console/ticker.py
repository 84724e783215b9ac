"""Breaks the silence: says what is going on whenever nothing was said for some seconds.

A `Ticker` listens to all that is printed on its console, so that a stage which talks by itself is
left alone. `search.console.progress` names what is going on. A console has one ticker at a time,
however many commands within commands print on it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleRenderable, RenderHook

MAX_SILENCE_S = 8.0
"""Of which nobody has to wait for more than ten."""

Beat = Callable[[], None]


class Ticker(RenderHook):
    """A thread that prints on a console when nobody else does."""

    def __init__(self, console: Console, *, max_silence_s: float = MAX_SILENCE_S) -> None:
        """Says nothing until it is entered."""
        self._console, self._max_silence_s = console, max_silence_s
        self._heard = time.perf_counter()
        self._beats: list[Beat] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._depth = 0

    @classmethod
    def of(cls, console: Console) -> "Ticker":
        """The ticker that watches over a console just now, or else a new one."""
        return _AT_WORK.get(console) or cls(console)

    def __enter__(self) -> "Ticker":
        self._depth += 1
        if self._depth > 1:
            return self
        _AT_WORK[self._console] = self
        self._heard = time.perf_counter()
        self._over = threading.Event()
        self._console.push_render_hook(self)
        self._thread = threading.Thread(target=self._tick, name="chorale-ticker", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth:
            return
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        _AT_WORK.pop(self._console, None)
        self._console.pop_render_hook()

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Called by the console for all that is printed; changes nothing."""
        self._heard = time.perf_counter()
        return renderables

    @contextmanager
    def beating(self, beat: Beat) -> Iterator[None]:
        """While the block lasts, `beat` is what breaks the silence; the innermost one counts."""
        with self._lock:
            self._beats.append(beat)
        try:
            yield
        finally:
            with self._lock:  # not while it is being called: what it draws on may be gone then
                self._beats.remove(beat)

    def _tick(self) -> None:
        while not self._over.wait(self._left_s()):
            if self._left_s() > 0:
                continue
            self._heard = time.perf_counter()  # also where nothing is printed
            with self._lock:
                if self._beats:
                    self._beats[-1]()

    def _left_s(self) -> float:
        return max(0.0, self._heard + self._max_silence_s - time.perf_counter())


_AT_WORK: dict[Console, Ticker] = {}
