"""Bundles of every architecture predict where neither Ray nor Optuna can be imported."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from chorale.datasets import plugins
from chorale.datasets.audio import load_audio
from chorale.datasets.features import with_layouts
from chorale.lightning_models import architectures
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor

FORBIDDEN = ("ray", "optuna", "sqlalchemy")


class Blocked:
    """Finds no forbidden package, as where it is not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(f"there is no {name}", name=name)


@pytest.fixture
def bundles(make_bundle: Any, tmp_path: Path) -> list[Path]:
    """A bundle of each architecture."""
    names, small = plugins.plugin_names(architectures), {"crop_s": 0.5}
    return [make_bundle(tmp_path / n, [(n, preferred_features(n), {}, small)]) for n in names]


@pytest.fixture
def fresh_main(
    bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[list[str]], int]]:
    """`main` of a second import of the project, which finds no forbidden package.

    The bundles exist before it, as the fixtures use the first import. Other libraries stay
    loaded: a process of its own would spend ten seconds on their imports.
    """
    for name in list(sys.modules):
        if name.partition(".")[0] in ("chorale", *FORBIDDEN):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Blocked(), *sys.meta_path])
    main: Callable[[list[str]], int] = importlib.import_module("chorale.search.cli").main
    yield main
    for name in list(sys.modules):
        if name.partition(".")[0] == "chorale":
            del sys.modules[name]  # monkeypatch puts the first import's back


def preferred_features(name: str) -> str:
    """The first of the feature sets that an architecture accepts."""
    return str(
        with_layouts(plugins.load_plugin(architectures, name, kind="architecture").LAYOUTS)[0]
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    wave = 0.2 * np.sin(2 * np.pi * 440 * np.arange(20_000) / 8000)
    soundfile.write(path, wave, 8000)
    return path


def test_every_architecture_predicts_without_ray_and_optuna(
    bundles: list[Path],
    fresh_main: Callable[[list[str]], int],
    clip: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for bundle in bundles:
        assert fresh_main(["predict", str(clip), "--bundle", str(bundle), "--json"]) == 0
    assert sys.modules.keys().isdisjoint(FORBIDDEN)
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    sums = [sum(one["proba"].values()) for one in answers]
    assert sums == pytest.approx([1] * len(bundles), abs=1e-4)


def test_an_encoder_is_copied_into_the_bundle_and_a_changed_one_is_refused(
    make_bundle: Any, clip: Path, tmp_path: Path, encoder_file: Path
) -> None:
    from chorale.datasets.errors import UserError

    bundle = make_bundle(tmp_path / "b", [("encoder_probe", "encoder", {}, {})])
    moved = bundle.rename(tmp_path / "elsewhere")
    proba = Predictor(Bundle.open(moved)).predict_file(clip).proba
    assert proba.sum() == pytest.approx(1)
    assert str(encoder_file.parent) not in (moved / "bundle.json").read_text()
    [file] = (moved / "encoders").iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"'encoders/encoder\.pt' is not the file"):
        Bundle.open(moved)


def test_a_file_of_ten_hours_is_refused_unread_and_others_are_predicted(
    make_bundle: Any, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from chorale.search.cli import main

    bundle = make_bundle(tmp_path / "b", [("cnn", "mel", {}, {})])
    long = tmp_path / "a.wav"
    n_samples = 10 * 3600 * 8000
    soundfile.write(long, np.zeros(1), 8000, subtype="PCM_16")
    header = bytearray(long.read_bytes()[:44])
    header[4:8] = (36 + 2 * n_samples).to_bytes(4, "little")
    header[40:44] = (2 * n_samples).to_bytes(4, "little")
    with long.open("wb") as file:  # a sparse file: half a gigabyte of silence
        file.write(header)
        file.truncate(44 + 2 * n_samples)
    words = ["predict", str(long), str(clip), "--bundle", str(bundle), "--json"]
    assert main(words) == 1
    out, err = capsys.readouterr()
    bad, good = map(json.loads, out.splitlines())
    assert bad["error"] == "too long"
    assert good["label"] in ("blues", "jazz", "metal")
    assert "36000 s; at most 10800 s" in err


def test_memory_does_not_grow_with_the_number_of_clips(
    make_bundle: Any, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tracemalloc

    from chorale.search.cli import main

    bundle = make_bundle(tmp_path / "b", [("cnn", "mel", {}, {})])
    peaks = []
    for n in (5, 5, 60):  # the first run fills caches
        tracemalloc.start()
        assert main(["predict", *[str(clip)] * n, "--bundle", str(bundle), "--json"]) == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    capsys.readouterr()
    waveform, _ = load_audio(clip)
    assert peaks[2] - peaks[1] < 2 * waveform.nbytes
