"""A night whose sweep is tracked moves the aliases of champion and candidate, and never fails."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from chorale.search.config.track_config import TrackConfig
from chorale.search.console.progress import Progress
from chorale.search.nightly import steps
from chorale.search.nightly.config import Nightly
from chorale.search.nightly.records import Night, Records
from chorale.search.nightly.steps import NightSteps


@pytest.mark.parametrize("is_packed", [True, False])
def test_the_candidate_is_the_challenger_while_its_bundle_is_there(
    is_packed: bool,
    nightly: Nightly,
    recorded: Callable[..., Night],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    night, records = recorded(2, "KEPT"), Records(nightly.paths)
    folder = records.night(night.date).bundle.root
    if is_packed:
        folder.mkdir(parents=True)
    called: list[Any] = []

    def track(runs: object, name: str, *, challenger: Path | None) -> list[str]:
        called.append((name, challenger))
        return ["it is away"]

    monkeypatch.setattr(steps, "track_or_explain", track)
    output = StringIO()
    progress = Progress(Console(file=output))
    for track_config in (None, TrackConfig()):
        sweep = replace(nightly.sweep, track=track_config)
        one = replace(nightly, resolved=replace(nightly.resolved, sweep=sweep))
        NightSteps(one, records, progress, lambda: datetime.now(UTC), False)._track(night)
    assert called == [(nightly.champion, folder if is_packed else None)], "only where tracked"
    assert "it is away" in output.getvalue()
