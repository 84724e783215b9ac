"""Each augmentation of features is compared with features of really changed audio."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from chorale.datasets.dsp.frequency_scale import MIN_DB, FrequencyScale
from chorale.datasets.errors import UserError
from chorale.datasets.features import mel, mfcc, stft
from chorale.lightning_models.augment.levels import level_augmentation
from chorale.lightning_models.data.batches import CropSource, TrainBatches
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames
from chorale.lightning_models.train_config import TrainConfig

CPU = torch.device("cpu")
RATE = 16_000
NOTES_HZ = (220.0, 277.0, 330.0, 247.0)
TOP_HZ = 6_000  # what is shifted down by two semitones still fills all bands below


@cache
def make_music(*, pitch: float = 1.0, speed: float = 1.0, seed: int = 0) -> np.ndarray:
    """Plucked-string notes and some noise, synthesized at another pitch or speed."""
    t = np.arange(int(2 * RATE / speed)) / RATE
    beat = t * speed * 2
    y = np.random.default_rng(seed).normal(0, 0.003, len(t))
    for i, hz in enumerate(NOTES_HZ):
        f0 = hz * pitch
        partials = [np.sin(2 * np.pi * f0 * k * t) / k for k in range(1, int(7900 / f0))]
        y += (beat.astype(int) == i) * np.exp(2 * (i - beat)) * sum(partials)
    made = (0.1 * y).astype(np.float32)
    made.flags.writeable = False  # tests share it
    return made


@cache
def shifted_by_librosa(semitones: float) -> np.ndarray:
    from librosa.effects import pitch_shift  # takes seconds, which only this file's worker spends

    return np.asarray(pitch_shift(make_music(), sr=RATE, n_steps=semitones))


@cache
def stretched_by_librosa(speed: float) -> np.ndarray:
    from librosa.effects import time_stretch

    return np.asarray(time_stretch(make_music(), rate=speed))


@dataclass(frozen=True)
class Case:
    """A feature set; `n_bins` of it are below `TOP_HZ`."""

    features: ModuleType
    config: Any
    n_bins: int

    @property
    def scale(self) -> FrequencyScale:
        scale: FrequencyScale = self.features.scale(self.config)
        return scale

    def frames(self, waveform: np.ndarray) -> Tensor:
        """(n_frames, n_bins)"""
        values = self.features.extract(waveform.astype(np.float32), self.config)
        return torch.from_numpy(np.ascontiguousarray(values.T))


SIZES = {"sample_rate": RATE, "n_fft": 1024, "hop_length": 256}
MEL = Case(mel, mel.Config(**SIZES, n_mels=64, f_max=TOP_HZ), 64)
FULL_MEL = Case(mel, mel.Config(**SIZES, n_mels=64), 64)
MFCC = Case(mfcc, mfcc.Config(**SIZES, n_mels=64, n_mfcc=20, f_max=TOP_HZ), 20)
STFT = Case(stft, stft.Config(sample_rate=RATE, n_fft=512, hop_length=256), 192)
ALL = [pytest.param(MEL, id="mel"), pytest.param(MFCC, id="mfcc"), pytest.param(STFT, id="stft")]


class Fixed(np.random.Generator):
    """A generator that draws `value` where a range allows it, otherwise the upper end."""

    def __init__(self, value: float | None = None) -> None:
        super().__init__(np.random.PCG64(0))
        self.value = value

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return np.full(size, high if self.value is None else np.clip(self.value, low, high))

    def random(self, size: Any = None, *args: Any, **kwargs: Any) -> Any:
        return np.zeros(size)


def changed(case: Case, x: Tensor, value: float | None = None, **settings: Any) -> Tensor:
    """`x` (n_frames, n_bins) as a crop augmented by `value`."""
    made = level_augmentation(
        TrainConfig(**settings),
        case.scale,
        n_frames=len(x),
        rng=np.random.default_rng(5),
        device=CPU,
    )
    assert made is not None
    return made.draw(1, Fixed(value))(x.unsqueeze(0), None)[0]


def error(a: Tensor, b: Tensor, case: Case) -> float:
    n = min(len(a), len(b))
    return float((a[:n] - b[:n])[:, : case.n_bins].abs().mean())


@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize("semitones", [-2.0, -1.0, 1.5])
def test_pitch_shift_is_close_to_that_of_synthesized_notes(case: Case, semitones: float) -> None:
    before, real = (
        case.frames(make_music(pitch=2 ** (s / 12), seed=s != 0)) for s in (0, semitones)
    )
    shifted = changed(case, before, semitones, pitch=2.0)
    # what coefficients have left of single partials is little, and so is what can be moved
    assert error(shifted, real, case) < (0.7 if case is MFCC else 0.37) * error(before, real, case)


@pytest.mark.parametrize("case", [ALL[0], ALL[2]])
@pytest.mark.parametrize("semitones", [-2.0, 1.0])
def test_pitch_shift_is_close_to_librosas(case: Case, semitones: float) -> None:
    before = case.frames(make_music())
    real = case.frames(shifted_by_librosa(semitones))
    shifted = changed(case, before, semitones, pitch=2.0)
    assert error(shifted, real, case) < 0.55 * error(before, real, case)
    # most of what is left is librosa's own distance from the notes really played
    played = case.frames(make_music(pitch=2 ** (semitones / 12)))
    assert error(shifted, played, case) < 1.2 * error(real, played, case)


@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize("speed", [0.8, 1.2])
@pytest.mark.parametrize(("by", "share"), [("played", 1 / 3), ("librosa", 0.6)])
def test_time_stretch_is_close_to_that_of_slower_music(
    case: Case, speed: float, by: str, share: float
) -> None:
    before = case.frames(make_music())
    slower = make_music(speed=speed) if by == "played" else stretched_by_librosa(speed)
    real = case.frames(slower)
    n = min(len(real), int((len(before) - 1) / speed))
    stretched = crop(before, n, speed=speed)
    assert error(stretched, real, case) < share * error(before, real, case)


def crop(frames: Tensor, n_frames: int, *, speed: float) -> Tensor:
    """The first crop of a track at a speed: (n_frames, n_bins)."""
    store = MemoryFrames.of([frames.numpy().T] * 2, frame_rate_hz=1.0)
    data = FoldData(store, np.array([0]), np.array([1]), np.array([0, 0]), 1)
    pad = torch.zeros(store.n_bins)
    source = CropSource(data, n_frames=n_frames, pad=pad, center=False, device=CPU)
    speeds = torch.tensor([speed], dtype=torch.float64)
    return source.gather(torch.tensor([0]), torch.zeros(1), speeds=speeds)[0, 0].T


@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_noisy_crops_match_features_of_noisy_audio_on_average(case: Case, snr_db: float) -> None:
    waveform, rng = make_music(), np.random.default_rng(0)
    loudness = np.sqrt(np.square(waveform).mean() / 10 ** (snr_db / 10))
    before = case.frames(waveform)

    def several(one: Any) -> Tensor:
        return torch.stack([one() for _ in range(8)])

    def played() -> Tensor:
        return case.frames(waveform + loudness * rng.standard_normal(len(waveform)))

    def ours() -> Tensor:
        return noisy(case, before, snr_db, seed=int(rng.integers(2**32)))

    real, made = several(played), several(ours)
    # smoothed by truncation, sharp peaks are lower, so sound seems softer, and so does its noise
    share = 0.6 if case is MFCC else 0.2
    assert error(made.mean(0), real.mean(0), case) < share * error(before, real.mean(0), case)
    if case is not MFCC and snr_db == 0:  # where noise is all there is, it fluctuates as it should
        assert float(made.std(0).mean() / real.std(0).mean()) == pytest.approx(1, abs=0.15)


def noisy(case: Case, x: Tensor, snr_db: float, *, seed: int) -> Tensor:
    settings = TrainConfig(noise=True, noise_snr_db=snr_db)
    rng = np.random.default_rng(seed)
    made = level_augmentation(settings, case.scale, n_frames=len(x), rng=rng, device=CPU)
    assert made is not None
    return made.draw(1, Fixed(snr_db))(x.unsqueeze(0), None)[0]


def snr_db_of(before: Tensor, after: Tensor, case: Case) -> Tensor:
    """The signal-to-noise ratio (...,) of levels (..., n_frames, n_bins) in all bands."""
    weights = torch.from_numpy(case.scale.weights)
    signal, both = (10 ** (x.double() / 10) @ weights for x in (before, after))
    ratio: Tensor = 10 * (signal.mean(-1) / (both - signal).mean(-1)).log10()
    return ratio


@pytest.mark.parametrize("case", [pytest.param(FULL_MEL, id="mel"), ALL[2]])
@pytest.mark.parametrize("snr_db", [0.0, 10.0, 25.0])
def test_the_signal_to_noise_ratio_is_right(case: Case, snr_db: float) -> None:
    waveform = make_music()
    before = case.frames(waveform)
    measured_db = snr_db_of(before, noisy(case, before, snr_db, seed=1), case)
    assert abs(float(measured_db) - snr_db) < 0.5
    # the bands' power is that of the waveform, so it is the waveform's ratio too
    power = 10 ** (before.double() / 10) @ torch.from_numpy(case.scale.weights)
    assert abs(10 * np.log10(power.mean() / np.square(waveform).mean())) < 0.5


def test_bands_up_to_a_lower_frequency_get_their_share_of_the_noise() -> None:
    before = MEL.frames(make_music())
    measured_db = snr_db_of(before, noisy(MEL, before, 10.0, seed=1), MEL)
    lost_db = 10 * np.log10(RATE / 2 / TOP_HZ)
    assert 10 < measured_db < 10 + lost_db + 0.5


def test_half_of_the_crops_get_noise_of_up_to_20_db_less() -> None:
    x = FULL_MEL.frames(make_music())[:40].expand(400, -1, -1)
    rng = np.random.default_rng(0)
    settings = TrainConfig(noise=True, noise_snr_db=10.0)
    made = level_augmentation(settings, FULL_MEL.scale, n_frames=40, rng=rng, device=CPU)
    assert made is not None
    after = made.draw(400, rng)(x, None)
    touched = (after - x).abs().mean(dim=(1, 2)) > 1e-3
    assert 0.4 < touched.double().mean() < 0.6
    snr_db = snr_db_of(x[touched], after[touched], FULL_MEL)
    assert 9.4 < snr_db.min() < 12
    assert 28 < snr_db.max() < 30.6


@pytest.mark.parametrize("case", ALL)
@pytest.mark.parametrize("gain_db", [-6.0, 4.0])
def test_gain_is_exact(case: Case, gain_db: float) -> None:
    waveform = make_music()
    real = case.frames(waveform * 10 ** (gain_db / 20))
    torch.testing.assert_close(
        changed(case, case.frames(waveform), gain_db, gain_db=6.0), real, atol=5e-3, rtol=0
    )


def test_silence_stays_silent() -> None:
    x = torch.full((9, 64), MIN_DB)
    settings = {"gain_db": 6.0, "noise": True, "pitch": 2.0}
    softer = changed(MEL, x, -6.0, **{**settings, "noise": False})
    assert softer.min() >= MIN_DB
    assert changed(MEL, x, **settings).max() < MIN_DB + 10


def fold(case: Case, *, n: int = 6) -> FoldData:
    """Tracks of which the second is shorter than a crop of 40 frames."""
    tracks = [case.frames(make_music(pitch=1 + i / 20, seed=i)).numpy().T for i in range(n)]
    tracks[1] = tracks[1][:, :25]
    scale = case.scale
    store = MemoryFrames.of(tracks, frame_rate_hz=RATE / 256, scale=scale)
    return FoldData(store, np.arange(n - 1), np.array([n - 1]), np.arange(n) % 2, 2)


EVERYTHING: dict[str, Any] = {"stretch": 0.2, "pitch": 2.0, "noise": True, "gain_db": 6.0}


@cache
def folds() -> dict[str, FoldData]:
    return {name: fold(case) for name, case in (("mel", MEL), ("mfcc", MFCC), ("stft", STFT))}


def epoch(data: FoldData, *, seed: int = 0, number: int = 0, **settings: Any) -> list[Tensor]:
    given = TrainConfig(batch_size=3, crops_per_track=2, **settings)
    batches = TrainBatches(data, given, n_frames=40, seed=seed)
    batches.epoch = number
    return [x for x, _ in batches]


@pytest.mark.parametrize("features", ["mel", "mfcc", "stft"])
@pytest.mark.parametrize("center", [False, True])
def test_augmentation_depends_on_seed_and_epoch_alone(features: str, center: bool) -> None:
    data = folds()[features]
    settings = EVERYTHING | {"center": center}
    first, again = epoch(data, number=3, **settings), epoch(data, number=3, **settings)
    assert all(map(torch.equal, first, again))
    assert all(x.isfinite().all() for x in first)
    assert not torch.equal(first[0], epoch(data, number=2, **settings)[0])
    assert not torch.equal(first[0], epoch(data, number=3, seed=1, **settings)[0])


@pytest.mark.parametrize("name", EVERYTHING)
def test_augmentation_does_not_change_order_and_positions_of_crops(name: str) -> None:
    data = folds()["mel"]
    plain, other = epoch(data), epoch(data, **{name: EVERYTHING[name]})
    assert not all(map(torch.equal, plain, other))
    if name == "stretch":  # a crop has the same middle, but where a track ends
        distance = torch.stack(
            [(a - b)[..., 20].abs().mean() for a, b in zip(plain, other, strict=True)]
        )
        assert distance.median() < 3
    else:
        nearest = [
            (a[:, None] - b[None]).abs().mean(dim=(2, 3, 4)).argmin(1)
            for a, b in zip(plain, other, strict=True)
        ]
        assert all(found.tolist() == [0, 1, 2] for found in nearest)


def crops(data: FoldData, row: int, *, center: bool, change: Any = None) -> Tensor:
    pad = data.statistics(center=center)[0]
    source = CropSource(data, n_frames=40, pad=pad, center=center, device=CPU)
    return source.gather(torch.tensor([row]), torch.tensor([0 if row != 1 else -5]), change=change)


def change_of(data: FoldData, value: float | None = None, **settings: Any) -> Any:
    given = TrainConfig(**settings)
    rng = np.random.default_rng(0)
    made = level_augmentation(given, data.store.scale, n_frames=40, rng=rng, device=CPU)
    assert made is not None
    return made.draw(1, Fixed(value))


@pytest.mark.parametrize("row", [0, 1])
def test_gain_does_not_change_centred_crops(row: int) -> None:
    data = folds()["mel"]
    louder = crops(data, row, center=True, change=change_of(data, gain_db=6.0))
    torch.testing.assert_close(louder, crops(data, row, center=True), atol=1e-4, rtol=0)


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("settings", [{"noise": True}, {"pitch": 2.0}])
def test_augmented_centred_crops_keep_their_mean(row: int, settings: dict[str, Any]) -> None:
    data = folds()["mel"]
    before = crops(data, row, center=True)
    after = crops(data, row, center=True, change=change_of(data, **settings))
    assert not torch.equal(before, after)
    torch.testing.assert_close(before.mean(dim=3), after.mean(dim=3), atol=1e-4, rtol=0)


def test_padding_is_not_augmented_and_not_counted_as_signal() -> None:
    data = folds()["mel"]
    pad = data.statistics(center=False)[0]
    change = change_of(data, noise=True, noise_snr_db=0.0)
    x = crops(data, 1, center=False, change=change)[0, 0]
    assert torch.equal(x[:, :5], pad.unsqueeze(1).expand(-1, 5))
    assert torch.equal(x[:, 30:], pad.unsqueeze(1).expand(-1, 10))
    before = crops(data, 1, center=False)[0, 0]
    measured_db = snr_db_of(before[:, 5:30].T, x[:, 5:30].T, MEL)
    assert 20 < measured_db < 22  # `Fixed` draws the upper end; see the test of early bands


def pairs() -> Iterator[tuple[int, float]]:
    yield from ((n, speed) for n in (1, 2, 25) for speed in (0.5, 1.0, 1.3, 1.99))


@pytest.mark.parametrize(("length", "speed"), pairs())
def test_a_stretched_short_track_is_completely_in_its_crop(length: int, speed: float) -> None:
    store = MemoryFrames.of([np.arange(length, dtype=np.float32)[None]] * 2, frame_rate_hz=1.0)
    data = FoldData(store, np.array([0]), np.array([1]), np.array([0, 0]), 1)
    pad = torch.tensor([99.0])
    source = CropSource(data, n_frames=60, pad=pad, center=True, device=CPU)
    speeds = torch.tensor([speed], dtype=torch.float64)
    start = torch.tensor([-3.3], dtype=torch.float64)
    x = source.gather(torch.tensor([0]), start, speeds=speeds)[0, 0, 0]
    inside = x[x != 99]
    assert abs(len(inside) - length / speed) <= 1.01
    assert len(inside) >= 1
    assert (inside.diff() >= 0).all()


def test_speed_1_does_not_change_a_crop() -> None:
    data = folds()["mel"]
    pad = data.statistics(center=False)[0]
    source = CropSource(data, n_frames=40, pad=pad, center=False, device=CPU)
    rows, starts = torch.tensor([0, 1, 2]), torch.tensor([12, -9, 0])
    at_one = source.gather(rows, starts, speeds=torch.ones(3, dtype=torch.float64))
    assert torch.equal(at_one, source.gather(rows, starts))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"noise": True}, "train.noise change .* write train.noise: false, or"),
        ({"gain_db": 2.0, "pitch": 1.0}, "write train.pitch: 0, train.gain_db: 0, or use mel"),
    ],
)
def test_augmentation_of_levels_is_refused_for_features_without_bands(
    settings: dict[str, Any], words: str
) -> None:
    made = folds()["mel"].store
    data = FoldData(
        MemoryFrames(made.frames, made.offsets, 10.0),
        np.arange(5),
        np.array([5]),
        np.arange(6) % 2,
        2,
    )
    assert len(epoch(data, stretch=0.1)) == 3
    with pytest.raises(UserError, match=words):
        epoch(data, **settings)


def test_time_stretch_is_refused_for_a_table() -> None:
    store = MemoryFrames.of([np.zeros((2, 3), np.float32)] * 2, frame_rate_hz=0.0)
    data = FoldData(store, np.array([0]), np.array([1]), np.array([0, 0]), 1)
    with pytest.raises(UserError, match=r"train.stretch=0.1 needs frames .* train.stretch: 0"):
        TrainBatches(data, TrainConfig(stretch=0.1), n_frames=1, seed=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("features", ["mel", "mfcc", "stft"])
@pytest.mark.parametrize("center", [False, True])
def test_augmentation_on_a_gpu_equals_that_on_a_cpu(features: str, center: bool) -> None:
    settings = TrainConfig(batch_size=3, center=center, **EVERYTHING)
    data = folds()[features]
    here, there = (
        [x for x, _ in TrainBatches(data, settings, n_frames=40, seed=0, device=device)]
        for device in (CPU, torch.device("cuda"))
    )
    for a, b in zip(here, there, strict=True):
        assert b.device.type == "cuda"
        torch.testing.assert_close(a, b.cpu(), atol=1e-2, rtol=1e-4)
