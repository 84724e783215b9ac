import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray

from chorale.datasets.catalog import synthetic_polyphonic
from chorale.datasets.config import read_config
from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import is_multi_label, labels_of
from chorale.datasets.synthesis import corpus, polyphony, scales, timbres
from chorale.datasets.synthesis.instruments import INSTRUMENTS, N_AT_ONCE
from chorale.datasets.synthesis.polyphonic_clips import Clip, plan_clips

CLIP_S = 2.0


def config(root: Path, **changes: float) -> synthetic_polyphonic.Config:
    values = {"root": str(root), "n_tracks": 12, "n_artists": 5, "clip_s": CLIP_S} | changes
    return read_config(synthetic_polyphonic.Config, values, where="here")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="module")
def table(root: Path) -> pd.DataFrame:
    return synthetic_polyphonic.tracks(config(root))


def test_a_clip_has_its_instruments_as_labels_and_its_artist_as_group(table: pd.DataFrame) -> None:
    assert is_multi_label(table["label"])
    assert {name for text in table["label"] for name in labels_of(text)} <= set(INSTRUMENTS)
    assert table["track_id"][0] == "artist-0000-000"
    assert table["group"].nunique() == 5
    assert (table["track_id"].str[:11] == table["group"]).all()
    assert table["split"].isna().all()


def test_files_match_the_table(table: pd.DataFrame) -> None:
    for path, duration_s in zip(table["path"], table["duration_s"], strict=True):
        samples, sample_rate = soundfile.read(path)
        assert sample_rate == 22_050
        assert samples.shape == (corpus.n_samples(CLIP_S),)
        assert duration_s == CLIP_S
        assert 0.05 < np.abs(samples).max() <= 0.951
        assert 0.01 < np.sqrt(np.mean(samples**2)) < 0.5


def test_the_same_config_gives_the_same_files_in_another_folder(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    again = synthetic_polyphonic.tracks(config(tmp_path))
    assert again["label"].tolist() == table["label"].tolist()
    for one, other in zip(table["path"], again["path"], strict=True):
        assert one != other
        assert Path(one).read_bytes() == Path(other).read_bytes()


def test_a_second_call_generates_nothing(
    root: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    monkeypatch.setattr(polyphony, "compose_clip", None)
    pd.testing.assert_frame_equal(synthetic_polyphonic.tracks(config(root)), table)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_another_seed_gives_other_clips() -> None:
    clips = plan_clips(n_tracks=20, n_artists=5)
    assert [clip.instruments(0) for clip in clips] != [clip.instruments(1) for clip in clips]
    one, other = (clips[0].samples(seed=seed, clip_s=CLIP_S) for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_a_larger_corpus_starts_with_the_smaller_one() -> None:
    small, large = (plan_clips(n_tracks=n, n_artists=7) for n in (25, 60))
    assert large[: len(small)] == small


@pytest.mark.parametrize(("n_tracks", "n_artists"), [(300, 36), (37, 5), (10, 30)])
def test_clips_are_evenly_distributed_over_artists(n_tracks: int, n_artists: int) -> None:
    clips = plan_clips(n_tracks=n_tracks, n_artists=n_artists)
    assert len({clip.track_id for clip in clips}) == n_tracks
    counts = Counter(clip.artist for clip in clips)
    assert len(counts) == min(n_artists, n_tracks)
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_instruments_are_neither_rare_nor_everywhere_and_played_by_many_artists(seed: int) -> None:
    usual = synthetic_polyphonic.Config()
    clips = plan_clips(n_tracks=usual.n_tracks, n_artists=usual.n_artists)
    chosen = [clip.instruments(seed) for clip in clips]
    sizes = Counter(map(len, chosen))
    assert set(sizes) == {1, 2, 3, 4}
    assert min(sizes.values()) > 0.1 * len(clips)
    for name in INSTRUMENTS:
        playing = [clip.artist for clip, names in zip(clips, chosen, strict=True) if name in names]
        assert 0.1 <= len(playing) / len(clips) <= 0.5
        assert len(set(playing)) >= 15


@pytest.mark.parametrize("clip", plan_clips(n_tracks=12, n_artists=6), ids=lambda c: c.track_id)
def test_each_instrument_of_a_clip_is_audible(clip: Clip) -> None:
    stems = polyphony.clip_stems(clip, seed=3, clip_s=CLIP_S)
    assert tuple(stems) == clip.instruments(3)
    power = {name: float(np.mean(stem**2)) for name, stem in stems.items()}
    assert all(stem.shape == (corpus.n_samples(CLIP_S),) for stem in stems.values())
    for name, of_instrument in power.items():
        share_db = 10 * np.log10(of_instrument / sum(power.values()))
        assert share_db > polyphony.AUDIBLE_DB, name
        # well above the noise that is mixed in, whose power is at most -50 dB
        assert 10 * np.log10(of_instrument) > -50, name


def test_clips_of_an_artist_sound_alike() -> None:
    """The average spectrum distinguishes artists, which makes a new artist hard."""

    def spectrum(clip: Clip) -> NDArray[np.float64]:
        power = np.abs(np.fft.rfft(clip.samples(seed=0, clip_s=CLIP_S))) ** 2
        edges = np.geomspace(100, 20_000, 25).astype(int)
        return np.log([power[low:high].mean() for low, high in itertools.pairwise(edges)])

    halves = [
        [
            np.mean([spectrum(Clip(artist, 2 * n + half)) for n in range(4)], axis=0)
            for half in (0, 1)
        ]
        for artist in range(8)
    ]
    distances = [[float(np.abs(one[0] - other[1]).mean()) for other in halves] for one in halves]
    within = np.diag(distances)
    across = np.array(distances)[~np.eye(8, dtype=bool)]
    assert np.mean(within) < 0.85 * np.mean(across)


def test_the_table_of_instruments_uses_only_known_names() -> None:
    for instrument in INSTRUMENTS.values():
        assert set(instrument.timbres) <= set(timbres.TIMBRES)
        assert set(instrument.roles) <= {"drums", "bass", "chords", "lead"}
        assert bool(instrument.timbres) == (instrument.roles != ("drums",))
        low, high = instrument.register
        assert 20 < scales.frequency_hz(low) < scales.frequency_hz(high) < 2000 or not low
    assert tuple(INSTRUMENTS) == tuple(sorted(INSTRUMENTS))
    assert sum(N_AT_ONCE) == pytest.approx(1)


@pytest.mark.parametrize("bad", [{"n_tracks": 9}, {"n_artists": 1}, {"clip_s": 1.0}, {"seed": -1}])
def test_values_out_of_bounds_raise(bad: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        config(tmp_path, **bad)


def test_a_file_as_root_raises_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "audio").write_text("no folder")
    with pytest.raises(UserError, match=r"'synthetic_polyphonic': cannot write its audio to"):
        synthetic_polyphonic.tracks(config(tmp_path / "audio"))
