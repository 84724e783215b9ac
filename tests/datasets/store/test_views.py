"""Stores of views: reproducible whatever the order of the tracks, and view 0 is keyed as before."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from chorale.datasets.audio import content_hash
from chorale.datasets.features import encoder, joined
from chorale.datasets.store.extraction import FeatureRecipe
from chorale.datasets.store.joining import build_store
from chorale.datasets.store.views import view_waveform
from tests.search.encoders import RATE, add_encoder


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> encoder.Config:
    monkeypatch.setenv("CHORALE_ENCODERS", str(tmp_path / "encoders"))
    add_encoder(tmp_path / "encoders", "low", n_bins=4)
    add_encoder(tmp_path / "encoders", "high", n_bins=3, seed=1)
    return encoder.Config(name="low")


@pytest.fixture
def tracks(tmp_path: Path) -> pd.DataFrame:
    rows = []
    for i, duration_s in enumerate((1.5, 3.0, 2.0)):
        wave = np.random.default_rng(i).uniform(-0.5, 0.5, round(duration_s * RATE))
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, wave, RATE, subtype="FLOAT")
        rows.append((str(i), str(path), content_hash(path), duration_s))
    return pd.DataFrame(rows, columns=["track_id", "path", "content", "duration_s"])


def test_the_key_of_the_recording_itself_is_that_of_a_recipe_without_views() -> None:
    from chorale.datasets import audio
    from chorale.datasets.config import to_plain_values
    from chorale.datasets.content import json_digest
    from chorale.datasets.features import mfcc

    config = mfcc.Config()
    before = json_digest(
        ["mfcc", [mfcc.VERSION, audio.DECODER_VERSION], to_plain_values(config)]
    )  # as in caches of earlier versions
    keys = [FeatureRecipe("mfcc", config, view).key for view in range(3)]
    assert keys[0] == FeatureRecipe("mfcc", config).key == before
    assert len(set(keys)) == 3


def test_a_view_depends_on_the_content_and_its_number_alone(
    config: encoder.Config, tracks: pd.DataFrame, tmp_path: Path
) -> None:
    first = build_store(tracks, "encoder-low", config, root=tmp_path / "a", view=1)
    turned = tracks[::-1].reset_index(drop=True)
    second = build_store(turned, "encoder-low", config, root=tmp_path / "b", view=1)
    for track in tracks["track_id"]:
        (i,), (j,) = first.rows([track]), second.rows([track])
        np.testing.assert_array_equal(
            first.frames[slice(*first.offsets[i : i + 2])],
            second.frames[slice(*second.offsets[j : j + 2])],
        )
    other = build_store(tracks, "encoder-low", config, root=tmp_path / "a", view=2)
    plain = build_store(tracks, "encoder-low", config, root=tmp_path / "a")
    assert len({store.folder for store in (first, other, plain)}) == 3
    frames = [store.frames[:5] for store in (plain, first, other)]
    assert not np.allclose(frames[0], frames[1], rtol=1e-3)
    assert not np.allclose(frames[1], frames[2], rtol=1e-3)


def test_a_view_is_the_feature_set_of_the_perturbed_waveform(
    config: encoder.Config, tracks: pd.DataFrame, tmp_path: Path
) -> None:
    store = build_store(tracks, "encoder-low", config, root=tmp_path / "cache", view=3)
    waveform = soundfile.read(tracks["path"].iloc[1], dtype="float32")[0]
    content = tracks["content"].iloc[1]
    view = view_waveform(waveform, RATE, content=content, view=3)
    assert 0.8 * len(waveform) - 1 <= len(view) <= len(waveform)
    alone = encoder.extract(view, config)
    np.testing.assert_allclose(store.frames[slice(*store.offsets[1:3])], alone.T, rtol=1e-6)
    assert view_waveform(waveform, RATE, content=content, view=0) is waveform


def test_a_few_more_tracks_are_all_that_another_store_of_a_view_computes(
    config: encoder.Config, tracks: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_store(tracks[:2], "encoder-low", config, root=tmp_path / "cache", view=1)
    extracted = []
    extract = encoder.extract

    def counting(waveform: np.ndarray, config: encoder.Config) -> np.ndarray:
        extracted.append(len(waveform))
        return extract(waveform, config)

    monkeypatch.setattr(encoder, "extract", counting)
    build_store(tracks, "encoder-low", config, root=tmp_path / "cache", view=1)
    assert len(extracted) == 1


def test_a_joined_view_has_the_same_view_of_each_encoder(
    config: encoder.Config, tracks: pd.DataFrame, tmp_path: Path
) -> None:
    del config
    parts = {"encoder-low": {"name": "low"}, "encoder-high": {"name": "high"}}
    made = joined.Config(parts=parts)
    both = build_store(tracks, "joined-low+high", made, root=tmp_path / "cache", view=2)
    low, high = (
        build_store(tracks, f"encoder-{name}", encoder.Config(name=name), root=tmp_path, view=2)
        for name in ("low", "high")
    )
    np.testing.assert_array_equal(both.frames, np.concatenate([low.frames, high.frames], axis=1))
