"""Rings: what is written is read, whichever byte a killed process wrote last; sizes are bounded."""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chorale.datasets.errors import UserError
from chorale.search.champion.health import ring
from chorale.search.champion.health.ring import Answer, RingWriter, read_rings

DIGEST, OTHER = "ab" * 32, "cd" * 32


def _answer(number: int) -> Answer:
    return Answer(1000.0 + number, number / 100, 0.5, math.nan, number % 2 == 1)


def _written(folder: Path, n: int, *, digest: str = DIGEST, capacity: int = 100) -> Path:
    writer = RingWriter(folder, digest, capacity=capacity)
    for number in range(n):
        writer.append(_answer(number))
    writer.close()
    return writer.path


def test_answers_are_read_as_they_were_written(tmp_path: Path) -> None:
    _written(tmp_path, 3)
    found = read_rings(tmp_path, DIGEST)
    assert found.answers.time_s.tolist() == [1000, 1001, 1002]
    assert found.answers.confidence == pytest.approx([0, 0.01, 0.02], abs=1e-6)
    assert found.answers.out_of_distribution.tolist() == [False, True, False]
    assert np.isnan(found.answers.similarity_margin).all()
    assert (found.n_other, found.n_damaged) == (0, 0)


def test_a_full_ring_keeps_the_latest_and_does_not_grow(tmp_path: Path) -> None:
    size = _written(tmp_path / "full", 10, capacity=10).stat().st_size
    path = _written(tmp_path / "over", 27, capacity=10)
    assert path.stat().st_size == size
    found = read_rings(tmp_path / "over", DIGEST).answers
    assert found.time_s.tolist() == [1000 + number for number in range(17, 27)]
    assert found.latest(2).time_s.tolist() == [1025, 1026]


def test_a_ring_cut_at_any_byte_gives_all_whole_records(tmp_path: Path) -> None:
    content = _written(tmp_path, 4).read_bytes()
    [path] = tmp_path.glob("*.ring")
    record = (len(content) - len(_written(tmp_path / "none", 0).read_bytes())) // 4
    for length in range(len(content)):
        path.write_bytes(content[:length])
        found = read_rings(tmp_path, DIGEST)
        n_whole = max(0, (length - (len(content) - 4 * record)) // record)
        assert len(found.answers) == n_whole, length
        whole = (len(content) - length) % record == 0 and length >= len(content) - 4 * record
        assert found.n_damaged == (not whole), length


def test_a_changed_byte_costs_one_record_and_is_counted(tmp_path: Path) -> None:
    content = _written(tmp_path, 4).read_bytes()
    [path] = tmp_path.glob("*.ring")
    start = len(_written(tmp_path / "none", 0).read_bytes())
    for place in range(start, len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        found = read_rings(tmp_path, DIGEST)
        assert (len(found.answers), found.n_damaged) == (3, 1), place


def test_a_killed_process_leaves_every_answer_that_it_wrote(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from chorale.search.champion.health.ring import Answer, RingWriter\n"
        f"writer = RingWriter(Path({str(tmp_path)!r}), '{DIGEST}', capacity=1000)\n"
        "for number in range(10**9):\n"
        "    writer.append(Answer(number, 0.5, 0.1, 0.2, False))\n"
        "    if number == 5000: print('ready', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
    found = read_rings(tmp_path, DIGEST)
    assert len(found.answers) >= 999
    assert (np.diff(found.answers.time_s) == 1).sum() >= len(found.answers) - 2


def test_several_servers_write_side_by_side_and_their_answers_are_in_the_order_of_time(
    tmp_path: Path,
) -> None:
    first, second = RingWriter(tmp_path, DIGEST), RingWriter(tmp_path, DIGEST)
    for number in range(6):
        (first if number % 3 else second).append(_answer(number))
    _written(tmp_path, 5, digest=OTHER)
    found = read_rings(tmp_path, DIGEST)
    assert found.answers.time_s.tolist() == [1000.0 + number for number in range(6)]
    assert found.n_other == 5
    first.close()
    second.close()


def test_the_oldest_files_of_ended_servers_are_removed_but_none_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring, "MAX_RINGS", 3)
    in_use = RingWriter(tmp_path, DIGEST)
    ended = [_written(tmp_path, 1) for _ in range(5)]
    kept = {path.name for path in tmp_path.glob("*.ring")}
    assert kept == {in_use.path.name, *(path.name for path in ended[-3:])}
    in_use.close()


def test_files_that_are_no_rings_are_counted_as_damaged(tmp_path: Path) -> None:
    (tmp_path / "x.ring").write_text("not a ring, but longer than the header of one" * 3)
    assert read_rings(tmp_path, DIGEST).n_damaged == 1
    assert len(read_rings(tmp_path, DIGEST).answers) == 0


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--health-dir FOLDER") as caught:
        RingWriter(tmp_path / "file" / "health", DIGEST)
    assert len(str(caught.value).splitlines()) == 1
