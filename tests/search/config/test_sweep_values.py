"""What stands for a sweep: a file, a folder of recordings, a dataset, or nothing (the demo)."""

from pathlib import Path
from typing import Any

import pytest

from chorale.search.cli import main
from chorale.search.config.schema import read_sweep_values
from chorale.search.sweep import run as sweep_run


def test_a_folder_is_a_sweep_of_it_with_all_defaults(tmp_path: Path) -> None:
    folder = tmp_path / "My music"
    folder.mkdir()
    given = {"dataset.group": "(artist.)", "features.encoder": "birdnet"}
    assert read_sweep_values(str(folder), given) == {
        "dataset": {"name": "folder", "root": str(folder), "group": "(artist.)"},
        "features": {"encoder": "birdnet"},
        "name": "My-music",
    }


@pytest.mark.parametrize(("name", "study"), [("...", "sweep"), (".hidden", "hidden")])
def test_the_name_of_the_study_is_allowed_as_a_name(name: str, study: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    assert read_sweep_values(str(tmp_path / name), {})["name"] == study


def test_a_dataset_without_a_shipped_sweep_is_read_with_all_defaults() -> None:
    assert read_sweep_values("folder", {}) == {"dataset": {"name": "folder"}, "name": "folder"}
    assert "train" in read_sweep_values("gtzan", {}), "the shipped sweep"


@pytest.mark.parametrize(
    ("args", "architectures"),
    [
        ([], ("cnn", "recurrent")),
        (["--dataset.name", "synthetic"], ("cnn", "recurrent")),
        (["--dataset.name", "folder", "--dataset.root", "MUSIC"], None),
        (["MUSIC"], None),
    ],
)
def test_the_settings_of_the_demo_are_for_its_own_music_only(
    args: list[str],
    architectures: tuple[str, ...] | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "MUSIC").mkdir()
    monkeypatch.chdir(tmp_path)
    seen: list[Any] = []
    monkeypatch.setattr(sweep_run, "forecast_sweep", lambda one, console: seen.append(one))
    assert main(["sweep", *args, "--plan"]) == 0
    assert seen[0].sweep.architectures == architectures
