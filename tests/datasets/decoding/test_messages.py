"""Messages of libmpg123, in child processes: pytest replaces file descriptor 2 itself."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

DECODE = """
import os, sys
from chorale.datasets.audio import decode_audio
found = decode_audio(sys.argv[1])
os.write(2, b"after\\n")
print(len(found.messages), *found.messages, sep="\\n")
"""
OTHERS = """
import os
from chorale.datasets.decoding.messages import collected_messages
with collected_messages() as messages:
    os.write(2, b"mine\\n\\nNote: Trying to resync...\\nmine, too: Note: x\\nWarning: y\\n\\nlast")
print(messages)
"""
THREAD = """
import os, threading
from chorale.datasets.decoding.messages import collected_messages
stop = threading.Event()
thread = threading.Thread(target=stop.wait)
thread.start()
with collected_messages() as messages:
    os.write(2, b"Note: a\\n")
stop.set()
print(messages)
"""
RAISES = """
import os
from chorale.datasets.decoding.messages import collected_messages
try:
    with collected_messages() as messages:
        os.write(2, b"Note: a\\n")
        raise ValueError
except ValueError:
    os.write(2, b"after\\n")
print(messages)
"""
PROGRESS = """
import os
from rich.console import Console
from rich.progress import Progress
from chorale.datasets.decoding.messages import collected_messages
with Progress(console=Console(stderr=True, force_terminal=True)) as progress:
    with collected_messages() as messages:
        os.write(2, b"Note: a\\n")
print(messages)
"""
SERVER = """
import os, threading
from chorale.datasets.decoding.messages import SERVER_THREAD, collected_messages
ended = threading.Event()
threading.Thread(target=ended.wait, name=SERVER_THREAD).start()
with collected_messages() as messages:
    os.write(2, b"Note: a\\n")
ended.set()
print(messages)
"""
WORKER = """
import os, threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from chorale.datasets.decoding.messages import collected_messages

def watch():
    threading.Thread(target=threading.Event().wait, daemon=True).start()

def work(_):
    with collected_messages() as messages:
        os.write(2, b"Note: a\\n")
    return threading.active_count(), messages

if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn"), watch) as pool:
        print(*pool.map(work, [0]))
"""
CLOSED = """
import os
from chorale.datasets.decoding.messages import collected_messages
os.close(2)
with collected_messages() as messages:
    pass
print(messages)
"""


def run(code: str, *words: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    return done.stdout, done.stderr


def damaged_mp3(path: Path) -> Path:
    file = io.BytesIO()
    noise = 0.1 * np.random.default_rng(0).standard_normal(44_100)
    soundfile.write(
        file, noise, 44_100, format="MP3", bitrate_mode="CONSTANT", compression_level=0.2
    )
    data = file.getvalue()
    middle = data.index(data[:4], len(data) // 2)
    path.write_bytes(data[:middle] + bytes(700) + data[middle:])
    return path


def test_the_decoders_messages_are_collected_and_do_not_appear(tmp_path: Path) -> None:
    output, errors = run(DECODE, str(damaged_mp3(tmp_path / "a.mp3")))
    n, *messages = output.splitlines()
    assert int(n) == len(messages) >= 2
    assert messages[0].startswith("Note: Illegal Audio-MPEG-Header")
    assert errors == "after\n"


def test_messages_are_collected_beside_a_progress_bar() -> None:
    output, errors = run(PROGRESS)
    assert output == "['Note: a']\n"
    assert "Note" not in errors


def test_messages_are_collected_while_metrics_are_served() -> None:
    assert run(SERVER) == ("['Note: a']\n", "")


def test_messages_are_collected_in_a_worker_with_a_watching_thread(tmp_path: Path) -> None:
    (script := tmp_path / "work.py").write_text(WORKER)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(2, ['Note: a'])\n", "")


def test_other_output_is_not_lost() -> None:
    output, errors = run(OTHERS)
    assert output == "['Note: Trying to resync...', 'Warning: y']\n"
    assert errors == "mine\nmine, too: Note: x\n\nlast"


@pytest.mark.parametrize(
    ("code", "output", "errors"),
    [
        (THREAD, "[]\n", "Note: a\n"),
        (RAISES, "['Note: a']\n", "after\n"),
        (CLOSED, "[]\n", ""),
    ],
)
def test_standard_error_is_left_as_it_was(code: str, output: str, errors: str) -> None:
    assert run(code) == (output, errors)
