"""The conditions under which `chorale robustness` predicts a recording again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from chorale.datasets.audio import resample
from chorale.datasets.recording.codecs import MP3, OPUS, VORBIS, Codec, through_codec
from chorale.datasets.recording.room import clipped, in_room, middle, with_noise

Float32Array = npt.NDArray[np.float32]
Change = Callable[[Float32Array, int, np.random.Generator], tuple[Float32Array, int]]
"""Waveform, sample rate in Hz and generator -> the changed waveform and its rate."""


@dataclass(frozen=True)
class Condition:
    """One way in which a recording may arrive."""

    title: str
    change: Change


def _codec(
    codec: Codec, kbit_s: float, waveform: Float32Array, rate: int, _: np.random.Generator
) -> tuple[Float32Array, int]:
    return through_codec(waveform, rate, codec, kbit_s)


def _rate(
    to_rate: int, waveform: Float32Array, rate: int, _: np.random.Generator
) -> tuple[Float32Array, int]:
    if rate <= to_rate:
        return waveform, rate
    return resample(waveform, rate, to_rate), to_rate


def _room(
    seconds: float, waveform: Float32Array, rate: int, rng: np.random.Generator
) -> tuple[Float32Array, int]:
    return in_room(waveform, rate, seconds, rng), rate


def _noise(
    snr_db: float, waveform: Float32Array, rate: int, rng: np.random.Generator
) -> tuple[Float32Array, int]:
    return with_noise(waveform, snr_db, rng), rate


def _level(
    gain_db: float, waveform: Float32Array, rate: int, _: np.random.Generator
) -> tuple[Float32Array, int]:
    return np.asarray(waveform * 10 ** (gain_db / 20), np.float32), rate


def _clip(
    share: float, waveform: Float32Array, rate: int, _: np.random.Generator
) -> tuple[Float32Array, int]:
    return clipped(waveform, share), rate


def _cut(
    seconds: float, waveform: Float32Array, rate: int, _: np.random.Generator
) -> tuple[Float32Array, int]:
    return middle(waveform, rate, seconds), rate


CONDITIONS: Mapping[str, Condition] = {
    **{f"mp3_{k}": Condition(f"MP3, {k} kbit/s", partial(_codec, MP3, k)) for k in (320, 128, 64)},
    "mp3_32": Condition("MP3, 32 kbit/s", partial(_codec, MP3, 32.0)),
    "vorbis": Condition("Ogg Vorbis, middle quality", partial(_codec, VORBIS, 0.5)),
    "opus_64": Condition("Opus, 64 kbit/s", partial(_codec, OPUS, 64.0)),
    "opus_16": Condition("Opus, 16 kbit/s", partial(_codec, OPUS, 16.0)),
    "rate_16k": Condition("sample rate 16 kHz", partial(_rate, 16_000)),
    "rate_8k": Condition("sample rate 8 kHz", partial(_rate, 8_000)),
    "clipped": Condition("10 % of the samples clipped", partial(_clip, 0.1)),
    "room_small": Condition("room, reverberation 0.3 s", partial(_room, 0.3)),
    "room_large": Condition("room, reverberation 1.2 s", partial(_room, 1.2)),
    "noise_30": Condition("white noise 30 dB below", partial(_noise, 30.0)),
    "noise_20": Condition("white noise 20 dB below", partial(_noise, 20.0)),
    "noise_10": Condition("white noise 10 dB below", partial(_noise, 10.0)),
    "quiet": Condition("level 20 dB lower", partial(_level, -20.0)),
    "cut_10": Condition("the middle 10 s", partial(_cut, 10.0)),
    "cut_3": Condition("the middle 3 s", partial(_cut, 3.0)),
    "cut_1": Condition("the middle second", partial(_cut, 1.0)),
}
"""Name -> condition, in the order of the table. Bit rates are those of one channel, as recordings
are mixed to one before features are taken."""
