"""Bundles of every architecture predict where neither Ray nor Optuna can be imported."""

import json
import subprocess
import sys
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

PROGRAM = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {forbidden!r}:
            raise ModuleNotFoundError(f"there is no {{name}}", name=name)
        return None

sys.meta_path.insert(0, Blocked())
from chorale.search.cli import main
sys.exit(max(main(["predict", sys.argv[1], "--bundle", one, "--json"]) for one in sys.argv[2:]))
"""


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
    make_bundle: Any, clip: Path, tmp_path: Path
) -> None:
    names = plugins.plugin_names(architectures)
    small = {"crop_s": 0.5}
    bundles = [make_bundle(tmp_path / n, [(n, preferred_features(n), {}, small)]) for n in names]
    program = PROGRAM.format(forbidden=FORBIDDEN)
    words = [sys.executable, "-c", program, str(clip), *map(str, bundles)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    sums = [sum(one["proba"].values()) for one in answers]
    assert sums == pytest.approx([1] * len(names), abs=1e-4)


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
