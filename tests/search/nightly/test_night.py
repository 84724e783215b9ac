"""Real nights with tiny networks: the first, a repeated call, the next, and damaged data.

A night that is killed at any final step is resumed; the champion's bundle stays valid meanwhile.
"""

import json
import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from chorale.search.champion.registry.gate import GateDecision, Verdict
from chorale.search.champion.registry.registry import Registry
from chorale.search.cli import main
from chorale.search.nightly import comparison
from chorale.search.nightly.config import Nightly, load_nightly
from chorale.search.nightly.earlier_nights import NUMBERS_PER_NIGHT, StudyMember, resolve_member
from chorale.search.nightly.records import Night, Records

FIRST, SECOND, THIRD = (date(2026, 11, day) for day in (20, 21, 22))


@dataclass(frozen=True)
class _Place:
    """A schedule's nightly file and exit codes, and a copy of the files of its nights."""

    nightly: Nightly
    codes: tuple[int, ...]
    kept: Path

    @property
    def records(self) -> Records:
        return Records(self.nightly.paths)

    @property
    def registry(self) -> Registry:
        return Registry(self.nightly.runs.champion(self.nightly.champion))

    def night(self, day: date) -> Night:
        found = self.records.read(day)
        assert found is not None
        return found

    def restore(self) -> None:
        """Restores all files to their state after two nights."""
        shutil.rmtree(self.nightly.runs.root)
        shutil.copytree(self.kept, self.nightly.runs.root)

    def call(self, day: date, *more: str) -> int:
        return main(["nightly", self.nightly.file, "--night", day.isoformat(), *more])


@pytest.fixture(scope="module")
def place(
    two_baselines: None,
    corpus: Path,
    tmp_path_factory: pytest.TempPathFactory,
    write_nightly: Callable[[Path, Path], Path],
) -> _Place:
    """A schedule after two nights, the first of which was called twice."""
    import torch

    torch.set_num_threads(1)  # a forked child has no other threads
    root = tmp_path_factory.mktemp("nights")
    shutil.copytree(corpus, root / "music")
    file = write_nightly(root, root / "music")
    made = _Place(load_nightly(str(file), {}), (), root / "kept")
    codes = tuple(made.call(day) for day in (FIRST, FIRST, SECOND))
    shutil.copytree(made.nightly.runs.root, made.kept)
    return _Place(made.nightly, codes, made.kept)


def test_the_first_night_promotes_a_champion_and_a_second_call_does_nothing(
    place: _Place,
) -> None:
    night = place.night(FIRST)
    assert (night.verdict, place.codes[:2]) == ("PROMOTED", (0, 0))
    assert place.registry.history()[0].study == night.study == "tiny-2026-11-20"
    assert night.figures["looks"] == 1
    assert place.records.night(FIRST).report_html.is_file()


def test_the_next_night_checks_drift_and_compares_with_the_champion(
    place: _Place,
) -> None:
    night = place.night(SECOND)
    assert night.verdict in ("KEPT", "INCONCLUSIVE", "PROMOTED")
    assert place.codes[2] == night.code
    assert night.figures["looks"] == 2
    drift = night.figures["sentinel"]
    assert drift["then"] is not None
    assert drift["now"] is not None
    champion = place.registry.current()
    assert champion is not None
    assert f"tiny-2026-11-20/{champion.manifest.members[0]}" in drift["reason"]  # a baseline
    assert drift["n_tracks"] == 48  # out-of-fold rows of all development tracks, then and now
    assert night.figures["taught_by"] == ["tiny-2026-11-20"]
    assert night.figures["champion"]["n"] == night.figures["candidate"]["n"]
    first, second = (
        json.loads(place.nightly.runs.study(place.night(day).study).split_json.read_text())
        for day in (FIRST, SECOND)
    )
    assert first["test_ids"] == second["test_ids"]
    assert first["hash"] == second["hash"]


def test_finalists_of_the_first_night_may_join_the_second_ones_ensemble(place: _Place) -> None:
    paths = place.nightly.runs.study(place.night(SECOND).study)
    members = [folder.name for folder in (paths.root / "finalists").glob("1000?")]
    assert len(members) == 1
    predictions = paths.finalist(int(members[0]), fold=0, seed=0).predictions
    assert predictions.stat().st_nlink > 1


def test_members_resolve_to_trials_of_their_night() -> None:
    nights = [(2, "b"), (1, "a")]
    assert resolve_member(7, "now", nights) == StudyMember("now", 7)
    assert resolve_member(2 * NUMBERS_PER_NIGHT + 7, "now", nights) == StudyMember("b", 7)
    assert resolve_member(3 * NUMBERS_PER_NIGHT + 7, "now", nights) is None


def test_damaged_labels_are_refused_and_the_champion_stays(place: _Place) -> None:
    music = Path(place.nightly.sweep.dataset["root"])
    moved = sorted((music / "low").glob("low-artist0-*")) + sorted(
        (music / "low").glob("low-artist1-*")
    )
    before = place.registry.history()
    for path in moved:
        path.rename(music / "high" / path.name)
    try:
        assert place.call(THIRD) == 20
        night = place.night(THIRD)
        assert night.word == "REFUSED"
        assert "8 of 60 tracks are relabelled" in night.reason
        assert place.registry.history() == before
        assert "REFUSED" in place.nightly.paths.trend_html.read_text()
    finally:
        for path in moved:
            (music / "high" / path.name).rename(path)
        place.restore()


STEPS = (
    (tempfile, "mkdtemp"), (tempfile, "mkstemp"), (shutil, "copyfile"), (shutil, "rmtree"),
    (Path, "rename"), (Path, "replace"), (Path, "unlink"), (os, "fsync"),
)  # fmt: skip
"""The file system calls of a night's final steps."""


def _in_child(work: Callable[[], int]) -> int:
    """The exit status of `work` in a process of its own; -9 where it was killed."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _undecided(place: _Place) -> None:
    """Resets the second night to: sweep done, not decided, with the first night's champion."""
    place.restore()
    night = place.night(SECOND)
    place.records.write(replace(night, state="running", verdict="", reason="", candidate=""))
    pointer = place.registry.paths.pointer
    content = json.loads(pointer.read_text())
    pointer.write_text(json.dumps({"reigns": content["reigns"][:1]}))


def _end_of_night(place: _Place, steps: Path, *, die_at: int | None) -> int:
    """Calls the second night again, which wins; counts file system calls, and may die at one."""
    n = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal n
            n += 1
            steps.write_text(str(n))
            if n == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return wrapped

    def won(*args: Any, **kwargs: Any) -> GateDecision:
        return GateDecision(Verdict.PROMOTED, "decided by the test", 0.1, 0.05, 0.01)

    assert "decide_promotion" in vars(comparison)
    vars(comparison)["decide_promotion"] = won
    for owner, name in STEPS:
        setattr(owner, name, counted(getattr(owner, name)))
    return place.call(SECOND)


def _looks(place: _Place) -> int:
    with sqlite3.connect(place.nightly.runs.root / "chorale.db") as c:
        return int(c.execute("select count(*) from chorale_looks").fetchone()[0])


def _check_kill(place: _Place, tmp_path: Path, die_at: int) -> None:
    _undecided(place)
    looks = _looks(place)
    old = place.registry.history()[-1].digest
    code = _in_child(lambda: _end_of_night(place, tmp_path / "n", die_at=die_at))
    assert code == -signal.SIGKILL
    champion = place.registry.current()  # verifies all hashes
    assert champion is not None
    code = _in_child(lambda: _end_of_night(place, tmp_path / "n", die_at=None))
    assert code == 0
    night, periods = place.night(SECOND), place.registry.history()
    assert (night.state, night.verdict) == ("done", "PROMOTED")
    assert [one.digest for one in periods] == [old, night.candidate]
    after = place.registry.current()
    assert after is not None
    # a sweep that dies while its study is reopened looks once more, and the ledger counts it
    assert looks <= _looks(place) <= looks + 1


def _n_steps(place: _Place, tmp_path: Path) -> int:
    _undecided(place)
    assert _in_child(lambda: _end_of_night(place, tmp_path / "n", die_at=None)) == 0
    return int((tmp_path / "n").read_text())


def test_a_night_that_is_killed_at_a_final_step_leaves_a_valid_champion_and_is_resumed(
    place: _Place, tmp_path: Path
) -> None:
    """At some of the steps; `-m heavy` tests all."""
    n = _n_steps(place, tmp_path)
    assert n > 20
    try:
        for die_at in sorted({max(1, round(n * share)) for share in (0.4, 0.8)}):
            _check_kill(place, tmp_path, die_at)
    finally:
        place.restore()


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_a_night_may_be_killed_at_every_final_step(place: _Place, tmp_path: Path) -> None:
    n = _n_steps(place, tmp_path)
    try:
        for die_at in range(1, n + 1):
            _check_kill(place, tmp_path, die_at)
    finally:
        place.restore()
