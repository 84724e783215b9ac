"""Progress output of a sweep: one line per stage, and a live summary of the trials.

On a terminal the summary is redrawn; in a log file a new line is printed when a trial ends.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from chorale.datasets.chunks import ChunkMap
from chorale.search.console.events import TrialStarted
from chorale.search.console.log_file import LOG
from chorale.search.console.ticker import StatusPrinter, StatusTicker

if TYPE_CHECKING:
    from chorale.search.ledger.reader import Row

T = TypeVar("T")
R = TypeVar("R")

STATE_WORDS = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}
SUMMARY_MARK = "  | "
"""Separates a trial's result from the summary in a log line; `search.console.follow` parses it."""
STATE_COLOURS = {"COMPLETE": "green", "PRUNED": "yellow", "FAIL": "red"}


def duration_text(seconds: float) -> str:
    """Seconds in readable form: "48 s", "3 min 20 s", "2 h 05 min"."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60:02d} min"


def durations_text(seconds: Mapping[str, float]) -> str:
    """Named durations in one line: "data 5 s, baselines 12 s, search 1 min 20 s"."""
    return ", ".join(f"{name} {duration_text(took_s)}" for name, took_s in seconds.items())


def state_counts(rows: "Mapping[str, Row]") -> str:
    """The final states of a stage's training runs: "24 trials: 9 done, 14 pruned, 1 failed"."""
    counts = Counter(row.state for row in rows.values())
    parts = [f"{counts[state]} {word}" for state, word in STATE_WORDS.items() if counts[state]]
    return f"{len(rows)} trials: {', '.join(parts)}"


class Progress:
    """Prints stages and the progress of their work on `console`."""

    def __init__(self, console: Console) -> None:
        """Starts the clock for the times of stages."""
        self.console = console
        self._began = time.perf_counter()
        self._ticker = StatusTicker.of(console)

    @contextmanager
    def keep_alive(self, what: str) -> Iterator[None]:
        """Prints a status line in the block whenever nothing was printed for some seconds.

        It names the innermost `activity`, or else `what`.
        """
        with self._ticker, self.activity(what):
            yield

    @contextmanager
    def activity(
        self, what: str, printer: StatusPrinter | None = None
    ) -> Iterator[Callable[[str], None]]:
        """Names the work of the block in the status line, or uses `printer` instead of that line.

        Yields a function that sets the progress text of the status line, such as "40%".
        """
        began, reached = time.perf_counter(), [""]

        def print_line() -> None:
            elapsed = duration_text(time.perf_counter() - began)
            before = f"{reached[0]}, " if reached[0] else ""
            self.console.print(
                f"{'':<10} [dim]{what}: {before}{elapsed} so far[/dim]",
                highlight=False,
                soft_wrap=True,
            )

        with self._ticker.printing(printer or print_line):
            yield lambda text: reached.__setitem__(0, text)

    def stage(self, name: str, found: str) -> None:
        """Prints one line about a stage that has ended: "features   mel: 400 tracks, ...".

        `found` is plain text: brackets in it are printed as they are.
        """
        elapsed = duration_text(time.perf_counter() - self._began)
        self.console.print(
            f"[bold]{name:<10}[/bold] {escape(found)} [dim]({elapsed})[/dim]", soft_wrap=True
        )

    def watch(self, run: ChunkMap, what: str) -> ChunkMap:
        """`run` with progress output: prints the share of finished chunks every few seconds."""

        def watched(work: Callable[[T], R], chunks: Sequence[T], /) -> Iterator[R]:
            began = shown = time.perf_counter()
            pause_s = 1.0 if self.console.is_terminal else 8.0
            with self.activity(what) as set_progress:
                for i, result in enumerate(run(work, chunks), start=1):
                    share = f"{i / len(chunks):.0%}"
                    set_progress(share)
                    if time.perf_counter() - shown > pause_s and i < len(chunks):
                        shown = time.perf_counter()
                        left = duration_text((shown - began) / i * (len(chunks) - i))
                        line = f"{'':<10} [dim]{what}: {share}, about {left} left[/dim]"
                        self.console.print(line, highlight=False)
                    yield result

        return watched


class TrialsDisplay:
    """A study listener that shows the training runs of one stage."""

    def __init__(
        self,
        console: Console,
        what: str,
        n: int | Callable[[], int] | None,
        *,
        objective: str,
        n_before: int = 0,
        forecast_s: Callable[[], float | None] | None = None,
    ) -> None:
        """Shows `n` runs in total, of which `n_before` ended before the study was resumed.

        `n` is a function where the number may rise, None where time limits them, and no number.

        `forecast_s` gives the expected remaining seconds; by default they are extrapolated from
        the pace so far.
        """
        self.forecast_s = forecast_s or self._pace_s
        self._console, self._what, self._given_n, self._objective = console, what, n, objective
        self._running: dict[int, TrialStarted] = {}
        self._latest: dict[int, tuple[int, float]] = {}
        self._ended = {"COMPLETE": n_before, "PRUNED": 0, "FAIL": 0}
        self._n_before = n_before
        self._best: tuple[float, str] | None = None
        self._began = time.perf_counter()
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> "TrialsDisplay":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def started(self, trial: TrialStarted) -> None:
        """A training run starts."""
        self._running[trial.trial_id] = trial
        self._redraw()

    def reported(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> None:
        """An epoch has ended."""
        value = metrics.get(self._objective, float("nan"))
        self._latest[trial_id] = (step, value)
        LOG.debug(
            "%s: epoch %d, %s %.4f", self._running[trial_id].name, step, self._objective, value
        )
        self._redraw()

    def ended(self, trial_id: int, row: "Row") -> None:
        """A training run has ended: prints its line."""
        trial = self._running.pop(trial_id)
        self._ended[row.state] += 1
        value = row.facts.get("metrics", {}).get(self._objective)
        if row.state == "COMPLETE" and (self._best is None or value > self._best[0]):
            self._best = (value, trial.name)
        steps, _ = self._latest.pop(trial_id, (0, 0.0))
        result = f"{self._objective} {value:.3f}" if value is not None else row.reason
        line = (
            f"{'':<10} [{STATE_COLOURS[row.state]}]{STATE_WORDS[row.state]:<7}[/] {trial.name:<16} "
            f"{trial.architecture:<12} {result}  [dim]{steps} epochs[/dim]"
        )
        if not self._console.is_terminal:
            line += f"[dim]{SUMMARY_MARK}{self._summary()}[/dim]"
        self._console.print(line, highlight=False, soft_wrap=True)
        self._redraw()

    def print_status(self) -> None:
        """Prints the summary, for when no trial and no epoch has ended for some time."""
        if self._console.is_terminal:
            self._redraw()
            return
        self._console.print(
            f"[dim]{SUMMARY_MARK}{self._summary()}[/dim]", highlight=False, soft_wrap=True
        )

    @property
    def _n(self) -> int | None:
        return self._given_n() if callable(self._given_n) else self._given_n

    def _summary(self) -> str:
        n_ended = sum(self._ended.values())
        parts = [str(n_ended) if self._n is None else f"{n_ended} of {self._n}"]
        parts += [
            f"{n} {STATE_WORDS[state]}"
            for state, n in self._ended.items()
            if n and state != "COMPLETE"
        ]
        parts.append(f"{len(self._running)} running")
        parts.append(f"{duration_text(time.perf_counter() - self._began)} so far")
        if self._best:
            parts.append(f"best {self._best[0]:.3f} ({self._best[1]})")
        if (left_s := self.forecast_s()) is not None:
            parts.append(f"about {duration_text(left_s)} left")
        return ", ".join(parts)

    def _pace_s(self) -> float | None:
        n_ended = sum(self._ended.values())
        fresh = n_ended - self._n_before
        n = self._n
        if fresh <= 0 or n is None:
            return None
        return (time.perf_counter() - self._began) / fresh * (n - n_ended)

    def _redraw(self) -> None:
        if not self._console.is_terminal:
            return
        running = "  ".join(
            f"{t.name}: {t.architecture}, epoch {self._latest.get(i, (0, 0.0))[0]}"
            for i, t in tuple(self._running.items())
        )
        text = Text(f"{self._what + 's':<10} {self._summary()}", style="bold")
        text.append(f"\n{'':<10} {running}", style="dim")
        self._live.update(text, refresh=True)
