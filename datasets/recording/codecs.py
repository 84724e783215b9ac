"""Lossy codecs, by libsndfile: a waveform as it is after encoding and decoding."""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chorale.datasets.audio import resample
from chorale.datasets.errors import UserError

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Codec:
    """A codec of libsndfile: its names there, the sample rate it is used at, and its bit rates.

    `kbit_s` is the range that libsndfile maps its compression levels 1 to 0 onto, linearly.
    """

    container: str
    subtype: str
    sample_rate: int
    kbit_s: tuple[float, float]
    is_constant: bool = False

    def level(self, kbit_s: float) -> float:
        """The compression level of a bit rate; 1 itself is refused by the MP3 encoder."""
        low, high = self.kbit_s
        return min(0.999, max(0.0, (high - kbit_s) / (high - low)))


MP3 = Codec("MP3", "MPEG_LAYER_III", 44_100, (32.0, 320.0), is_constant=True)
"""LAME at a constant bit rate, as MPEG-1."""

OPUS = Codec("OGG", "OPUS", 48_000, (6.0, 256.0))
"""libopus: Valin, Vos and Terriberry 2012, RFC 6716, https://www.rfc-editor.org/rfc/rfc6716."""

VORBIS = Codec("OGG", "VORBIS", 44_100, (0.0, 1.0))
"""libvorbis, whose levels are qualities and not bit rates: 1 the best, 0 the worst."""


def through_codec(
    waveform: Float32Array, sample_rate: int, codec: Codec, kbit_s: float
) -> tuple[Float32Array, int]:
    """A waveform after encoding and decoding, of the same length, with the codec's sample rate.

    MP3 is up to 5 % quieter, and at 48 kbit/s and below 25 ms late, as in files of libsndfile.

    Args:
        waveform: float32 (n_samples,), full scale 1.0.
        sample_rate: Hz.
        codec: which one.
        kbit_s: kbit/s, of one channel; of Vorbis the quality, 0 to 1.

    Raises:
        UserError: libsndfile lacks the codec.
    """
    import soundfile

    source = waveform
    if sample_rate != codec.sample_rate:
        source = resample(waveform, sample_rate, codec.sample_rate)
    file = io.BytesIO()
    options = {"bitrate_mode": "CONSTANT"} if codec.is_constant else {}
    try:
        soundfile.write(
            file, np.clip(source, -1.0, 1.0), codec.sample_rate, format=codec.container,
            subtype=codec.subtype, compression_level=codec.level(kbit_s), **options,
        )  # fmt: skip
    except (ValueError, soundfile.LibsndfileError) as error:
        raise UserError(
            f"this libsndfile cannot write {codec.subtype} ({error}); leave such conditions out: "
            f"--conditions NAME,NAME"
        ) from error
    file.seek(0)
    decoded, rate = soundfile.read(file, dtype="float32")
    # at low rates an MP3 has no room for its delay and length, so it comes back 25 ms late, padded
    return np.asarray(decoded[: len(source)], np.float32), int(rate)
