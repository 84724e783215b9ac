"""What is printed on a console, in a file with times (UTC): of a study, or of `--log-file`."""

import io
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path
from weakref import WeakSet

from rich.console import Console, ConsoleRenderable, RenderHook
from rich.control import Control
from rich.text import Text

LOG = logging.getLogger("chorale.console")
"""Has a handler for each open log file, and none otherwise."""
LOG.propagate = False
LOG.setLevel(logging.INFO)
LOG.addHandler(logging.NullHandler())

MAX_KEPT_LINES = 10_000
"""Lines that are kept until the study of a sweep has a folder."""
TABLE_WIDTH = 160
"""Characters in a line of a table."""

_logged: "WeakSet[Console]" = WeakSet()


class LogHook(RenderHook):
    """Writes what a console prints to the open log files."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Logs each line; the renderables are printed as they are."""
        if len(LOG.handlers) > 1:
            for line in _lines(renderables):
                LOG.info(line)
        return renderables


def logged(console: Console) -> Console:
    """The console, of which everything that is printed is written to the open log files, too."""
    console.push_render_hook(LogHook())
    _logged.add(console)
    return console


@contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """Appends what is printed on logged consoles in the block to a file.

    Raises:
        OSError: it cannot be opened.
    """
    handler = _LogFile(file)
    LOG.addHandler(handler)
    try:
        yield
    except BaseException as error:
        _log_end(error)
        raise
    finally:
        LOG.removeHandler(handler)
        handler.close()


@contextmanager
def kept_log(console: Console, file: Path) -> Iterator[Callable[[], None]]:
    """Appends what is printed on a console in the block to the log of a study or night.

    Yields a function to call once its folder exists: what was printed before is kept until then,
    and dropped where the work is refused. A log that cannot be written stops nothing.
    """
    is_new = console not in _logged
    if is_new:
        logged(console)
    kept = MemoryHandler(MAX_KEPT_LINES, flushLevel=logging.CRITICAL + 1)
    LOG.addHandler(kept)
    opened: list[_LogFile] = []

    def begin() -> None:
        try:
            handler = _LogFile(file)
        except OSError as error:
            print(f"no log is kept: {file}: {error.strerror}", file=sys.stderr)
            return
        opened.append(handler)
        kept.setTarget(handler)
        LOG.removeHandler(kept)
        kept.flush()
        LOG.addHandler(handler)

    try:
        yield begin
    except BaseException as error:
        _log_end(error)
        raise
    finally:
        for handler in (kept, *opened):
            LOG.removeHandler(handler)
            handler.close()
        if is_new:
            console.pop_render_hook()
            _logged.discard(console)


@contextmanager
def printed_details() -> Iterator[None]:
    """Prints details, such as each epoch, to standard error in the block, and logs them."""
    handler = logging.StreamHandler()
    handler.addFilter(lambda record: record.levelno == logging.DEBUG)
    LOG.setLevel(logging.DEBUG)
    LOG.addHandler(handler)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(logging.INFO)


class _LogFile(logging.FileHandler):
    """A file of lines with their time; the first one that cannot be written ends it."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, encoding="utf-8")
        times = logging.Formatter("%(asctime)sZ  %(message)s", "%Y-%m-%dT%H:%M:%S")
        times.converter = time.gmtime
        self.setFormatter(times)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002 - logging's
        error = sys.exc_info()[1]
        LOG.removeHandler(self)
        print(f"the log ends here: {self.baseFilename}: {error}", file=sys.stderr)


def _log_end(error: BaseException) -> None:
    LOG.error("ended by %s: %s", type(error).__name__, error)


def _lines(renderables: list[ConsoleRenderable]) -> list[str]:
    """The renderables as plain text, without what only moves a terminal's cursor."""
    shown = [one for one in renderables if not isinstance(one, Control)]
    texts = [one.plain if isinstance(one, Text) else _rendered(one) for one in shown]
    return [line for text in texts for line in text.split("\n") if line.strip()]


def _rendered(renderable: ConsoleRenderable) -> str:
    plain = Console(file=io.StringIO(), width=TABLE_WIDTH, color_system=None, force_terminal=False)
    with plain.capture() as captured:
        plain.print(renderable)
    return captured.get()
