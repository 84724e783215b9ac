"""Collects what libmpg123, libsndfile's MP3 decoder, writes to the terminal.

libmpg123 writes to file descriptor 2 of the process, hundreds of lines for a damaged file; its own
switch for silence cannot be reached through libsndfile. `datasets.decoding.decode` uses it.
"""

import multiprocessing
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

DISPLAY_THREAD = "chorale-ticker"
"""The name of a thread that prints progress and starts no programs."""

SERVER_THREAD = "chorale-http"
"""The name of a thread that answers HTTP requests and starts no programs."""

_MESSAGE = re.compile(
    rb"^\n?(?:Note: |Warning: |\[src/libmpg123/|ID3v2: |Translated ID3v2|Ignoring untranslated ID3"
    rb"|Whoa! ID3v2|not attempting to resync)[^\n]*\n?",
    re.MULTILINE,
)
_STDERR = 2


@contextmanager
def collected_messages(wanted: bool = True) -> Iterator[list[str]]:
    """A list that holds the decoder's messages, one line each, after the block.

    Empty where they are not `wanted`, as for files that libmpg123 does not decode.

    Other output of the block, which is not libmpg123's by its first words, is written to the
    terminal at the end. Nothing is collected, and the messages appear on the terminal, where
    another thread could start a program meanwhile, which would inherit the redirected file
    descriptor and lose its own messages: in a process that is not a worker and has other threads
    than those of rich and `DISPLAY_THREAD`, which print progress, and `SERVER_THREAD`.
    """
    messages: list[str] = []
    if not wanted or not _starts_no_programs():
        yield messages
        return
    try:
        terminal = os.dup(_STDERR)
    except OSError:  # closed: nothing appears anyway
        yield messages
        return
    try:
        with _temporary_file() as kept:
            os.dup2(kept.fileno(), _STDERR)
            try:
                yield messages
            finally:
                os.dup2(terminal, _STDERR)
                kept.seek(0)
                written = kept.read()
                found = (match.decode(errors="replace") for match in _MESSAGE.findall(written))
                messages += [line.strip() for line in found]
                _write(terminal, _MESSAGE.sub(b"", written))
    finally:
        os.close(terminal)


def _starts_no_programs() -> bool:
    main = threading.main_thread()
    if threading.current_thread() is not main:
        return False
    if multiprocessing.parent_process() is not None:  # a worker, whose other threads only watch
        return True
    others = (thread for thread in threading.enumerate() if thread is not main)
    named = (DISPLAY_THREAD, SERVER_THREAD)
    return all(
        thread.name in named or type(thread).__module__.startswith("rich.") for thread in others
    )


def _temporary_file() -> BinaryIO:
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("messages"), "w+b")
    return cast(BinaryIO, tempfile.TemporaryFile())


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
