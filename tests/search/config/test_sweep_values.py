"""What stands for a sweep: a file, a folder of recordings, a dataset, or nothing (the demo)."""

from pathlib import Path
from typing import Any

import pytest

from chorale.datasets.errors import UserError
from chorale.search.cli import main
from chorale.search.config.resolve import resolve_file
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


def test_a_folder_with_the_name_of_a_sweep_or_dataset_is_meant_with_its_path_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "folder"):
        (tmp_path / name).mkdir()
        before = read_sweep_values(name, {})
        assert before["dataset"].get("root") is None
        of_folder = read_sweep_values(f"./{name}", {})
        assert of_folder["dataset"] == {"name": "folder", "root": name}


def test_an_unknown_dataset_is_named_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--dataset.name", "foldr", "--plan"]) == 1
    assert "dataset.name: unknown dataset 'foldr'; did you mean 'folder'" in capsys.readouterr().err


def test_a_folder_cannot_be_submitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "music" / "low").mkdir(parents=True)
    words = ["--cluster.address", "http://127.0.0.1:1", "--cluster.allow_no_token", "true"]
    assert main(["sweep", str(tmp_path / "music"), *words]) == 1
    assert "is a folder, but this needs a sweep file" in capsys.readouterr().err


def test_the_same_problem_of_two_feature_sets_is_stated_for_both(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    wrong = {"features.mel.n_mels": 1, "features.mfcc.n_mels": 1}
    with pytest.raises(UserError) as caught:
        resolve_file(str(tmp_path / "music"), wrong)
    for name in wrong:
        assert f"{name}: should be greater than or equal to" in str(caught.value)
