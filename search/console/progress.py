"""What a person sees while a sweep runs: stages, and a line about trials that stays current.

On a terminal the line is redrawn; in a log file a new line appears when a trial ends.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.live import Live
from rich.text import Text

from chorale.datasets.chunks import ChunkMap
from chorale.search.console.events import Started
from chorale.search.console.ticker import Beat, Ticker

if TYPE_CHECKING:
    from chorale.search.ledger.reader import Row

T = TypeVar("T")
R = TypeVar("R")

WORDS = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}
MARK = "  | "
"""In a log it parts how a trial ended from how far all are; `search.console.follow` reads it."""
COLOURS = {"COMPLETE": "green", "PRUNED": "yellow", "FAIL": "red"}


def duration(seconds: float) -> str:
    """Seconds as a person says them: "48 s", "3 min 20 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def states(rows: "Mapping[str, Row]") -> str:
    """How the training runs of a stage ended: "24 trials: 9 done, 14 pruned, 1 failed"."""
    counts = Counter(row.state for row in rows.values())
    said = ", ".join(f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state])
    return f"{len(rows)} trials: {said}"


class Progress:
    """Stages and chunks of work, told on `console`."""

    def __init__(self, console: Console) -> None:
        """Starts the clock that stages are timed by."""
        self.console = console
        self._began = time.perf_counter()
        self._ticker = Ticker.of(console)

    @contextmanager
    def never_silent(self, what: str) -> Iterator[None]:
        """While the block lasts, a line is printed whenever nothing was for some seconds.

        It names what is being done by then: `what`, or what a `doing` inside the block names.
        """
        with self._ticker, self.doing(what):
            yield

    @contextmanager
    def doing(self, what: str, beat: Beat | None = None) -> Iterator[Callable[[str], None]]:
        """Names what the block does, for the line that breaks a silence.

        Gives what can be told how far it is. `beat` says it in another way than by that line.
        """
        began, far = time.perf_counter(), [""]

        def still() -> None:
            elapsed = duration(time.perf_counter() - began)
            self.console.print(
                f"{'':<10} [dim]{what}: {far[0] + ', ' if far[0] else ''}{elapsed} so far[/dim]",
                highlight=False,
                soft_wrap=True,
            )

        with self._ticker.beating(beat or still):
            yield lambda said: far.__setitem__(0, said)

    def stage(self, name: str, found: str) -> None:
        """One line about a stage that is over: "features   mel: 400 tracks, ..."."""
        elapsed = duration(time.perf_counter() - self._began)
        self.console.print(
            f"[bold]{name:<10}[/bold] {found} [dim]({elapsed})[/dim]", soft_wrap=True
        )

    def watch(self, run: ChunkMap, what: str) -> ChunkMap:
        """`run`, but where it takes long it shows how many chunks are done."""

        def watched(work: Callable[[T], R], chunks: Sequence[T], /) -> Iterator[R]:
            shown = time.perf_counter()
            pause_s = 1.0 if self.console.is_terminal else 8.0
            with self.doing(what) as tell:
                for i, result in enumerate(run(work, chunks), start=1):
                    share = f"{i / len(chunks):.0%}"
                    tell(share)
                    if time.perf_counter() - shown > pause_s and i < len(chunks):
                        shown = time.perf_counter()
                        self.console.print(f"{'':<10} [dim]{what}: {share}[/dim]", highlight=False)
                    yield result

        return watched


class TrialsDisplay:
    """A listener that shows one stage of training runs."""

    def __init__(
        self,
        console: Console,
        what: str,
        n: int,
        *,
        objective: str,
        n_before: int = 0,
        forecast_s: Callable[[], float | None] | None = None,
    ) -> None:
        """`n` runs will be made in all, of which `n_before` ended in an earlier sitting.

        `forecast_s` says in how many seconds all will be over; without it, the pace so far does.
        """
        self._forecast_s = forecast_s or self._pace_s
        self._console, self._what, self._n, self._objective = console, what, n, objective
        self._running: dict[int, Started] = {}
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

    def started(self, trial: Started) -> None:
        """A training run begins."""
        self._running[trial.trial_id] = trial
        self._redraw()

    def reported(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> None:
        """An epoch is over."""
        self._latest[trial_id] = (step, metrics.get(self._objective, float("nan")))
        self._redraw()

    def ended(self, trial_id: int, row: "Row") -> None:
        """A training run is over: its line stays."""
        trial = self._running.pop(trial_id)
        self._ended[row.state] += 1
        value = row.facts.get("metrics", {}).get(self._objective)
        if row.state == "COMPLETE" and (self._best is None or value > self._best[0]):
            self._best = (value, trial.name)
        steps, _ = self._latest.pop(trial_id, (0, 0.0))
        said = f"{self._objective} {value:.3f}" if value is not None else row.reason
        line = (
            f"{'':<10} [{COLOURS[row.state]}]{WORDS[row.state]:<7}[/] {trial.name:<16} "
            f"{trial.architecture:<12} {said}  [dim]{steps} epochs[/dim]"
        )
        if not self._console.is_terminal:
            line += f"[dim]{MARK}{self._summary()}[/dim]"
        self._console.print(line, highlight=False, soft_wrap=True)
        self._redraw()

    def beat(self) -> None:
        """Shows that it goes on, where no trial has ended and no epoch is over for some time."""
        if self._console.is_terminal:
            self._redraw()
            return
        self._console.print(f"[dim]{MARK}{self._summary()}[/dim]", highlight=False, soft_wrap=True)

    def _summary(self) -> str:
        n_ended = sum(self._ended.values())
        parts = [f"{n_ended} of {self._n}"]
        parts += [
            f"{n} {WORDS[state]}" for state, n in self._ended.items() if n and state != "COMPLETE"
        ]
        parts.append(f"{len(self._running)} running")
        parts.append(f"{duration(time.perf_counter() - self._began)} so far")
        if self._best:
            parts.append(f"best {self._best[0]:.3f} ({self._best[1]})")
        if (left_s := self._forecast_s()) is not None:
            parts.append(f"about {duration(left_s)} left")
        return ", ".join(parts)

    def _pace_s(self) -> float | None:
        n_ended = sum(self._ended.values())
        fresh = n_ended - self._n_before
        if fresh <= 0:
            return None
        return (time.perf_counter() - self._began) / fresh * (self._n - n_ended)

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
