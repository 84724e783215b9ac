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
