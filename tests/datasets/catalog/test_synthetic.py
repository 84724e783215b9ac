import functools
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray

from chorale.datasets.catalog import synthetic
from chorale.datasets.config import read_config
from chorale.datasets.errors import UserError
from chorale.datasets.synthesis import (
    SAMPLE_RATE,
    compose,
    corpus,
    percussion,
    rhythm,
    scales,
    timbres,
    voices,
)

CLIP_S = 1.5


def config(root: Path, **changes: float) -> synthetic.Config:
    values = {"root": str(root), "n_tracks": 20, "n_artists": 2, "clip_s": CLIP_S} | changes
    return read_config(synthetic.Config, values, where="here")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="module")
def table(root: Path) -> pd.DataFrame:
    return synthetic.tracks(config(root))


def audio(table: pd.DataFrame) -> list[NDArray[np.float64]]:
    return [soundfile.read(path)[0] for path in table["path"]]


def noise(*, seed: int, genre: str, artist: int, number: int, clip_s: float) -> voices.Signal:
    """Takes the place of `compose_track` where it does not matter how a track sounds."""
    rng = np.random.default_rng([seed, *genre.encode(), artist, number])
    return rng.uniform(-0.5, 0.5, corpus.n_samples(clip_s))


def files(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below `root`, hidden ones too: when it was written and what is in it."""
    found = (path for path in root.rglob("*") if path.is_file())
    return {str(p.relative_to(root)): (p.stat().st_mtime_ns, p.read_bytes()) for p in found}


def test_every_genre_and_artist_occurs_and_no_artist_has_two_genres(table: pd.DataFrame) -> None:
    assert set(table["label"]) == set(synthetic.INFO.labels)
    assert len(synthetic.INFO.labels) == 10
    assert table["group"].nunique() == 20
    assert (table.groupby("group")["label"].nunique() == 1).all()
    assert "jazz-artist-01" in set(table["group"])


def test_files_match_the_table(table: pd.DataFrame) -> None:
    for path, duration_s in zip(table["path"], table["duration_s"], strict=True):
        header = soundfile.info(path)
        assert (header.samplerate, header.channels, header.subtype) == (22_050, 1, "PCM_16")
        assert header.frames / header.samplerate == duration_s == pytest.approx(CLIP_S, abs=1e-4)
        assert Path(path).is_absolute()


def test_audio_is_not_silent_and_never_clips(table: pd.DataFrame) -> None:
    for samples in audio(table):
        assert 0.05 < np.abs(samples).max() <= 0.951
        assert 0.01 < np.sqrt(np.mean(samples**2)) < 0.5
        assert abs(samples.mean()) < 0.01


def test_no_two_tracks_are_equal(table: pd.DataFrame) -> None:
    assert len({samples.tobytes() for samples in audio(table)}) == len(table)


def test_a_second_call_generates_nothing(
    root: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(root)
    monkeypatch.setattr(compose, "compose_track", None)
    pd.testing.assert_frame_equal(synthetic.tracks(config(root)), table)
    assert files(root) == before
    assert len(before) == len(table) + 1


def test_the_same_config_gives_the_same_files_in_another_folder(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    paths = dict(zip(table["track_id"], table["path"], strict=True))
    again = synthetic.tracks(config(tmp_path, n_tracks=10))
    for track_id, other in zip(again["track_id"], again["path"], strict=True):
        one = paths[track_id]
        assert one != other
        assert Path(one).read_bytes() == Path(other).read_bytes()


def test_the_number_of_processes_does_not_change_the_files(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    songs = corpus.plan_songs(n_tracks=4, n_artists=2)
    corpus.write_songs(songs, tmp_path, seed=0, clip_s=CLIP_S, n_processes=2)
    paths = dict(zip(table["track_id"], table["path"], strict=True))
    for song in songs:
        assert (tmp_path / song.file).read_bytes() == Path(paths[song.track_id]).read_bytes()


def test_another_seed_gives_another_corpus_in_another_folder(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = table["label"][0]
    original = compose.compose_track

    def compose_first(*, genre: str, **arguments: int) -> voices.Signal:
        return (original if genre == first else noise)(genre=genre, **arguments)

    monkeypatch.setattr(compose, "compose_track", compose_first)
    other = synthetic.tracks(config(tmp_path, n_tracks=10, seed=1))
    assert Path(other["path"][0]).parts[-3] != Path(table["path"][0]).parts[-3]
    assert other["track_id"][0] == table["track_id"][0]
    assert Path(other["path"][0]).read_bytes() != Path(table["path"][0]).read_bytes()


def test_a_larger_corpus_starts_with_the_smaller_one() -> None:
    small, large = (corpus.plan_songs(n_tracks=n, n_artists=3) for n in (25, 60))
    assert large[: len(small)] == small


@pytest.mark.parametrize(("n_tracks", "n_artists"), [(40, 4), (37, 3), (10, 8), (23, 2), (404, 9)])
def test_tracks_are_evenly_distributed_over_genres_and_artists(
    n_tracks: int, n_artists: int
) -> None:
    songs = corpus.plan_songs(n_tracks=n_tracks, n_artists=n_artists)
    assert len({song.track_id for song in songs}) == n_tracks
    genres = Counter(song.genre for song in songs)
    assert set(genres) == set(corpus.genre_names())
    assert max(genres.values()) - min(genres.values()) <= 1
    for genre, n_of_genre in genres.items():
        artists = Counter(song.artist for song in songs if song.genre == genre)
        assert len(artists) == min(n_artists, n_of_genre)
        assert max(artists.values()) - min(artists.values()) <= 1


def test_an_interrupted_call_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))

    def stopped(**arguments: Any) -> voices.Signal:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return noise(**arguments)

    monkeypatch.setattr(compose, "compose_track", stopped)
    with pytest.raises(KeyboardInterrupt):
        synthetic.tracks(config(tmp_path, n_tracks=10))
    before = files(tmp_path)
    assert len(before) == 4
    assert all(name.endswith(".wav") and "/." not in name for name in before)
    again = synthetic.tracks(config(tmp_path, n_tracks=10))
    after = files(tmp_path)
    assert {name: after[name] for name in before} == before
    assert next(calls) == 4 + 1 + 6
    monkeypatch.setattr(compose, "compose_track", noise)
    whole = synthetic.tracks(config(tmp_path / "whole", n_tracks=10))
    for one, other in zip(again["path"], whole["path"], strict=True):
        assert Path(one).read_bytes() == Path(other).read_bytes()


def test_a_full_disk_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left.*--dataset\.root"):
        synthetic.tracks(config(tmp_path))
    assert files(tmp_path) == {}


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_file_is_generated_again(
    damage: str, root: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    victim = tmp_path / Path(table["path"][4]).relative_to(root)
    right = victim.read_bytes()
    victim.unlink() if damage == "missing" else victim.write_bytes(right[:1000])
    others = {name: kept for name, kept in files(tmp_path).items() if victim.name not in name}
    synthetic.tracks(config(tmp_path))
    after = files(tmp_path)
    assert victim.read_bytes() == right
    assert {name: after[name] for name in others} == others


def test_a_killed_worker_raises_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # not a function of this file, which each worker would import for seconds before it ends
    monkeypatch.setattr(corpus, "_start_worker", functools.partial(os._exit, 9))
    songs = corpus.plan_songs(n_tracks=10, n_artists=2)
    with pytest.raises(UserError, match="run the same command again"):
        corpus.write_songs(songs, tmp_path, seed=0, clip_s=CLIP_S, n_processes=2)


def test_a_file_as_root_raises_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "audio").write_text("no folder")
    with pytest.raises(UserError, match=r"cannot write its audio to .*audio"):
        synthetic.tracks(config(tmp_path / "audio"))


@pytest.mark.parametrize("bad", [{"n_tracks": 9}, {"n_artists": 1}, {"clip_s": 0.1}, {"seed": -1}])
def test_values_out_of_bounds_raise(bad: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        config(tmp_path, **bad)


def test_tracks_of_an_artist_are_more_similar_than_those_of_a_genre() -> None:
    """The average spectrum distinguishes artists, which is the intended confounder."""
    spectra: dict[int, list[NDArray[np.float64]]] = {}
    for artist in range(5):
        for number in range(2):
            samples = compose.compose_track(
                seed=0, genre="pop", artist=artist, number=number, clip_s=2.0
            )
            power = np.abs(np.fft.rfft(samples)) ** 2
            bands = [band.mean() for band in np.array_split(power[100:20_000], 40)]
            spectra.setdefault(artist, []).append(np.log(bands))

    def distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        return float(np.abs(one - other).mean())

    within = [distance(*of_artist) for of_artist in spectra.values()]
    across = [distance(spectra[a][0], spectra[b][1]) for a in range(5) for b in range(5) if a != b]
    assert np.mean(within) < 0.75 * np.mean(across)


@pytest.mark.parametrize("engine", ["table", "fm", "pluck", "mallet"])
@pytest.mark.parametrize("midi", [33, 57, 81])
def test_every_engine_plays_in_tune(engine: str, midi: int) -> None:
    name = {"table": "clarinet", "fm": "electric_piano", "pluck": "steel_guitar"}.get(
        engine, "marimba"
    )
    hz = scales.frequency_hz(midi)
    rng = np.random.default_rng(0)
    sound = voices.render_note(timbres.TIMBRES[name], hz, 1.0, bend=0.0, rng=rng)[:20_000]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size), 1 << 18))
    bins_hz = np.arange(spectrum.size) * SAMPLE_RATE / (1 << 18)
    near = (bins_hz > hz * 0.94) & (bins_hz < hz * 1.06)
    found_hz = bins_hz[near][spectrum[near].argmax()]
    assert abs(1200 * np.log2(found_hz / hz)) < 10


@pytest.mark.parametrize("drum", sorted(percussion.DRUMS))
def test_every_drum_is_audible_and_decays(drum: str) -> None:
    rng = np.random.default_rng(0)
    sound = percussion.drum_hit(percussion.draw_kit(0.5, rng)[drum], rng)
    assert np.abs(sound).max() == pytest.approx(1.0)
    assert np.abs(sound[-50:]).max() < 0.05


def test_patterns_divide_the_bar_and_extend_notes() -> None:
    hits = rhythm.parse_pattern("x--. .o", beats=3)
    assert [(hit.beat, hit.length, hit.velocity) for hit in hits] == [
        (0, 1.5, 0.8),
        (2.5, 0.5, 0.45),
    ]


@pytest.mark.parametrize(("swing", "middle_s"), [(0.5, 0.25), (2 / 3, 1 / 3)])
def test_swing_moves_only_the_middle_of_the_beat(swing: float, middle_s: float) -> None:
    clock = rhythm.Clock(tempo_bpm=120, swing=swing)
    assert [clock.seconds(b) for b in (0, 0.5, 1, 2)] == pytest.approx([0, middle_s, 0.5, 1.0])


@pytest.mark.parametrize(
    ("symbol", "root", "tones"),
    [
        ("I", 0, (0, 4, 7)),
        ("bVII7", 10, (0, 4, 7, 10)),
        ("iv", 5, (0, 3, 7)),
        ("V5", 7, (0, 7, 12)),
    ],
)
def test_roman_numerals_are_parsed(symbol: str, root: int, tones: tuple[int, ...]) -> None:
    assert scales.parse_chord(symbol) == scales.Chord(root, tones)


@pytest.mark.parametrize("symbol", ["H7", "Ifoo", ""])
def test_an_invalid_chord_symbol_raises(symbol: str) -> None:
    with pytest.raises(ValueError, match="chord symbol"):
        scales.parse_chord(symbol)


@pytest.mark.parametrize("genre", corpus.genre_names())
def test_a_genre_uses_only_known_names(genre: str) -> None:
    rules = compose.genre_rules(genre)
    assert set(rules.scales) <= set(scales.SCALES)
    assert all(scales.parse_progression(text) for text in rules.progressions)
    assert {name for names in rules.timbres.values() for name in names} <= set(timbres.TIMBRES)
    for groove in rules.grooves:
        bars = [*groove.bass, *groove.chords, *groove.lead]
        drums = [drum for pattern in groove.drums for drum in pattern]
        bars += [bar for pattern in groove.drums for bar in pattern.values()]
        assert set(drums) <= set(percussion.DRUMS)
        assert {len(bar.replace(" ", "")) % groove.beats for bar in bars} == {0}
        assert {c for bar in groove.bass for c in bar} <= set("R3578aw.- ")
        assert {c for bar in groove.chords for c in bar} <= set("Xxoumpq1234.- ")
