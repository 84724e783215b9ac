"""A library of a bundle whose recordings have several labels."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.library.library import Library
from chorale.search.cli import main

Tone = Callable[..., Path]
Capture = pytest.CaptureFixture[str]
N_TRACKS = 5


@pytest.fixture(scope="module")
def library(make_bundle: Any, tone: Tone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five tones: all have blues, some jazz, none metal."""
    root = tmp_path_factory.mktemp("several")
    members = [("cnn", "mel", {"n_layers": 2, "width": 16}, {"crop_s": 0.4})]
    files = [tone(root / "music" / f"artist{i % 2}" / f"{i}.wav", hz=200 + 250 * i)
             for i in range(N_TRACKS)]  # fmt: skip
    any_thresholds = {"blues": 0.5, "jazz": 0.5, "metal": 0.5}
    first = Predictor(Bundle.open(make_bundle(root / "first", members, thresholds=any_thresholds)))
    jazz = sorted(first.predict_file(file).proba[1] for file in files)
    thresholds = {"blues": 0.001, "jazz": float(jazz[2]) - 1e-6, "metal": 0.999}
    bundle = make_bundle(root / "bundle", members, thresholds=thresholds)
    words = ["library", "add", str(root / "music"), "--bundle", str(bundle)]
    assert main([*words, "--to", str(root / "library")]) == 0
    return root / "library"


def test_every_track_keeps_all_labels_that_reach_their_thresholds(library: Path) -> None:
    opened = Library.open(library)
    predictor = Predictor(Bundle.open(library.parent / "bundle"))
    for track, proba in zip(opened.content.tracks, opened.content.proba, strict=True):
        expected = predictor.predict_file(track.path)
        assert expected.predicted is not None
        np.testing.assert_allclose(proba, expected.proba, atol=1e-6)
        assert track.labels is not None
        assert set(track.labels) == {
            name for name, yes in zip(predictor.labels, expected.predicted, strict=True) if yes
        }
        assert track.genre == predictor.labels[expected.best]
    similar = opened.similar(opened.content.embeddings[0], 5)
    assert similar[0]["label"] == ", ".join(opened.content.tracks[0].predicted)


def test_tracks_of_a_label_are_all_that_reach_its_threshold(
    library: Path, tmp_path: Path, capsys: Capture
) -> None:
    opened = Library.open(library)
    words = ["library", "list", "--library", str(library)]
    to = tmp_path / "p.m3u8"
    assert main([*words, "--label", "jazz", "--csv", "--m3u8", str(to)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 3
    assert all("jazz" in row["labels"].split(";") for row in rows)
    row_of = opened.by_path
    jazz = [float(opened.content.proba[row_of[row["path"]], 1]) for row in rows]
    assert jazz == sorted(jazz, reverse=True)
    played = [line for line in to.read_text().splitlines() if not line.startswith("#")]
    assert played == [row["path"] for row in rows]

    assert main(words) == 0
    out = capsys.readouterr().out
    assert f"blues {N_TRACKS:>22}  100.0%" in out
    assert f"jazz {3:>23}   60.0%" in out
    assert "metal" not in out
    assert main([*words, "--label", "metal"]) == 0
    assert "0 tracks" in capsys.readouterr().out


def test_recommend_takes_the_most_probable_label_as_the_genre(
    library: Path, capsys: Capture
) -> None:
    liked = Library.open(library).content.tracks[0].path
    words = ["recommend", "--like", liked, "--library", str(library), "--length", "3", "--json"]
    assert main(words) == 0
    made = json.loads(capsys.readouterr().out)
    assert len(made["tracks"]) == 3
    genres = {track.path: track.genre for track in Library.open(library).content.tracks}
    assert all(genres[track["path"]] == track["genre"] for track in made["tracks"])


def test_unknown_labels_and_folders_are_refused_in_one_line(
    library: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ["library", "list", "--library", str(library)]
    for more, message, code in (
        (["--label", "pop"], "has no label 'pop'; expected one of blues, jazz, metal", 1),
        (["--m3u8", str(tmp_path)], "it is a folder; give another place with --m3u8 FILE", 1),
        (["--relative"], "add --m3u8 FILE", 2),
    ):
        assert main([*words, *more]) == code
        err = capsys.readouterr().err
        assert message in err
        assert len(err.splitlines()) == 1
