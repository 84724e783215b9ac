"""The champion in a tracker: its alias moves with the registry, and a bundle is one version."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from chorale.search.bundle.bundle import Bundle
from chorale.search.champion.registry.registry import Registry
from chorale.search.champion.tracking import track_champion, track_or_explain
from chorale.search.cli import main
from chorale.search.ledger.ledger import Ledger
from chorale.search.paths import Runs
from tests.search.conftest import MakeBundle, Member
from tests.search.tracking.conftest import fake
from tests.search.tracking.fake_mlflow import FakeMlflow

__all__ = ["fake"]

STUDY = "none"
"""The study of the bundles that `make_bundle` writes."""


@pytest.fixture
def runs(tmp_path: Path, fake: FakeMlflow) -> Runs:
    """A folder with that study, which is tracked."""
    made = Runs(tmp_path / "runs")
    with Ledger(made.ledger_url) as ledger:
        ledger.create(STUDY, {}, about={})
        ledger.release(STUDY, "complete", spent_s=1.0)
    made.study(STUDY).root.mkdir(parents=True)
    made.study(STUDY).sweep_yaml.write_text("track: mlflow\n")
    assert main(["track", "sync", STUDY, "--runs", str(made.root)]) == 0
    return made


@pytest.fixture
def bundles(make_bundle: MakeBundle, tmp_path: Path) -> Sequence[Path]:
    """Two bundles that differ."""
    members: list[Member] = [("cnn", "mel", {"n_layers": 2, "width": 8}, {})]
    return [
        make_bundle(tmp_path / name, members, temperature=temperature)
        for name, temperature in (("first", 1.0), ("second", 2.0))
    ]


def _promote(runs: Runs, folder: Path) -> None:
    registry = Registry(runs.champion("genres"))
    periods = registry.history()
    expected = periods[-1].digest if periods else None
    registry.promote(Bundle.open(folder), expected=expected, reason="it is better")


def test_the_alias_moves_with_a_promotion_and_back_with_a_rollback(
    runs: Runs,
    bundles: Sequence[Path],
    fake: FakeMlflow,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = bundles
    _promote(runs, first)
    [line] = track_champion(runs, "genres")
    assert line == (
        f"MLflow at {fake.address}, experiment 'chorale': version 1 of model 'genres', of study "
        f"none, is champion"
    )
    lines = track_champion(runs, "genres", challenger=second)
    assert [line.rpartition(" ")[2] for line in lines] == ["champion", "challenger"]
    assert fake.aliases == {("genres", "champion"): "1", ("genres", "challenger"): "2"}
    _promote(runs, second)
    track_champion(runs, "genres", challenger=second)
    assert fake.aliases == {("genres", "champion"): "2", ("genres", "challenger"): "2"}
    assert main(["champion", "rollback", "genres", "--runs", str(runs.root)]) == 0
    assert "version 1 of model 'genres', of study none, is champion" in capsys.readouterr().out
    assert fake.aliases["genres", "champion"] == "1"
    assert fake.models["genres"].keys() == {"1", "2"}
    run, [version, _] = fake.by_key()["study"], fake.models["genres"].values()
    assert version["run_id"] == run.id
    folder = version["source"].rpartition("/")[2]
    stored = {name.rpartition(f"{folder}/")[2] for name in fake.artifacts if folder in name}
    expected = {path.relative_to(first).as_posix() for path in first.rglob("*") if path.is_file()}
    assert stored == expected, "the whole bundle"


def test_after_a_failure_at_any_request_a_bundle_is_one_version(
    runs: Runs, bundles: Sequence[Path], fake: FakeMlflow
) -> None:
    _promote(runs, bundles[0])
    for at in range(60):
        left = [at]

        def fail(method: str, path: str, left: list[int] = left) -> str | None:
            left[0] -= 1
            return "lost" if left[0] == -1 else None

        fake.models.clear()
        fake.aliases.clear()
        fake.fault = fail
        line = track_or_explain(runs, "genres")[0]
        fake.fault = lambda method, path: None
        track_champion(runs, "genres")
        assert fake.models["genres"].keys() == {"1"}
        assert fake.aliases == {("genres", "champion"): "1"}
        if left[0] >= 0:
            break
        assert line.endswith("with: chorale track champion genres")
        assert len(line.splitlines()) == 1
    assert 7 < at < 59, "each request failed once"


def test_a_version_that_is_there_twice_is_removed(
    runs: Runs, bundles: Sequence[Path], fake: FakeMlflow
) -> None:
    _promote(runs, bundles[0])
    track_champion(runs, "genres")
    fake.models["genres"]["2"] = fake.models["genres"]["1"]
    track_champion(runs, "genres")
    assert fake.models["genres"].keys() == {"1"}


def test_a_tracker_that_is_away_is_one_line_and_the_champion_has_changed(
    runs: Runs,
    bundles: Sequence[Path],
    fake: FakeMlflow,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder in bundles:
        _promote(runs, folder)
    fake.fault = lambda method, path: "503"
    assert main(["champion", "rollback", "genres", "--runs", str(runs.root)]) == 0
    found = capsys.readouterr()
    assert "none is champion 'genres' again" in found.out
    assert found.out.endswith(
        "write the champion there later with: chorale track champion genres\n"
    )
    fake.fault = lambda method, path: None
    assert main(["track", "champion", "--runs", str(runs.root)]) == 0
    assert fake.aliases == {("genres", "champion"): "1"}


def test_a_study_that_is_not_tracked_or_has_no_run_there_is_one_line(
    runs: Runs,
    bundles: Sequence[Path],
    fake: FakeMlflow,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _promote(runs, bundles[0])
    fake.runs.clear()
    words = ["track", "champion", "--runs", str(runs.root)]
    assert main(words) == 1
    assert "has no run of the study that made the bundle" in capsys.readouterr().err
    runs.study(STUDY).sweep_yaml.write_text("track: null\n")
    assert track_champion(runs, "genres") == []
    assert main(words) == 1
    assert "has no tracker in its sweep file" in capsys.readouterr().err
