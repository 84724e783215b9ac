"""Decodes a file with libsndfile: once where its header is right, otherwise a second time.

Between `datasets.audio` and the files of this folder.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from chorale.datasets.decoding.base import AudioError, AudioHeader, LengthLimits, Recording
from chorale.datasets.decoding.blocks import GrowingWaveform, read_blocks
from chorale.datasets.decoding.frames import MIN_MP3_BYTES_PER_S, has_more_frames, mp3_count
from chorale.datasets.decoding.header import FirstLook, first_look, opened, sound_header
from chorale.datasets.decoding.messages import collected_messages
from chorale.datasets.decoding.mixdown import Mixdown
from chorale.datasets.decoding.sound_file import FileView, view_beyond_count
from chorale.datasets.decoding.sound_length import SampleBytes

MAX_PEAK = 1e6  # float files may pass full scale (1.0), but not so far that their power overflows

_MP3_PADDING = 4 * 1152  # encoder's and decoder's delay, padding, a cut last frame: below 4 frames
_ABOUT_SIZE = "Warning: Xing stream size off"  # of no use: the length is compared here
_SAMPLES_PER_BYTE = 64  # for which memory is reserved because the header claims them


class _Pass(NamedTuple):
    """The result of decoding a file once; it stopped at an offset of the file."""

    waveform: npt.NDArray[np.float32]
    header: AudioHeader
    padding: int  # by how many samples it may differ from its header
    mixdown: Mixdown
    stopped_at: int
    messages: tuple[str, ...]
    errors: tuple[str, ...]


def decode(path: Path, limits: LengthLimits) -> Recording:
    """Decodes a file to its end and mixes it down to mono.

    A file that goes on behind the count of its header, or breaks off with an error, is decoded
    again, past both. Channels in opposite phase are decoded again for one of them.

    Raises:
        AudioError: the file is missing, broken, empty or too long, or has samples that are not
            finite or far beyond full scale.
    """
    look = first_look(path)
    view, careful = look.view, False
    done = first = _decode_once(path, look, view, limits)
    header = first.header
    if first.errors or _goes_on(path, look, first):
        beyond = view if look.sizes else view_beyond_count(path, header.format)
        again = _decode_beyond(path, look, beyond, limits, first)
        if first.errors or len(again.waveform) > len(first.waveform) + first.padding:
            done, view, careful = again, beyond, bool(again.errors)
    goes_on = _goes_on(path, look, done)
    if not len(done.waveform) or (goes_on and first.errors):
        reasons = (*first.errors, f"none of its {header.n_frames or 'samples'} samples")
        raise AudioError(path, "undecodable", reasons[0])
    share = 0.0
    if (channel := done.mixdown.channel_instead()) is not None:
        share = done.mixdown.cancelled_share
        done = _decode_once(path, look, view, limits, careful=careful, channel=channel)
    return Recording(
        done.waveform,
        header.sample_rate,
        header.format,
        header_s=_differing_header_s(path, first, look.sizes, len(done.waveform)),
        cancelled_share=share,
        n_undecoded_bytes=look.n_bytes - done.stopped_at if goes_on else 0,
        messages=(*(m for m in done.messages if not m.startswith(_ABOUT_SIZE)), *done.errors),
    )


def _decode_beyond(
    path: Path, look: FirstLook, beyond: FileView, limits: LengthLimits, first: _Pass
) -> _Pass:
    try:
        again = _decode_once(path, look, beyond, limits) if not first.errors else first
        return _decode_once(path, look, beyond, limits, careful=True) if again.errors else again
    except AudioError as error:
        if error.problem == "too long" or first.errors:
            raise
        return first  # its end is reported as not decoded


def _goes_on(path: Path, look: FirstLook, done: _Pass) -> bool:
    """Whether the file seems to hold audio behind the place where decoding stopped."""
    at_end = look.sizes is not None or done.stopped_at >= look.n_bytes
    return not at_end and has_more_frames(path, done.header.format, done.stopped_at)


def _refuse_long(path: Path, n_bytes: int, header: AudioHeader, limits: LengthLimits) -> None:
    """Refuses a file that is too long by its header, before it is decoded.

    Unless that is impossible for its size on the disk, as for the first minutes of a long MP3.

    Raises:
        AudioError: it is too long.
    """
    if header.duration_s is None or header.n_frames is None:
        return
    if header.n_frames <= limits.samples(header.sample_rate):
        return
    possible_s = n_bytes / MIN_MP3_BYTES_PER_S
    if header.format != "MP3" or header.duration_s <= possible_s:
        raise _too_long(path, f"{header.duration_s:.0f} s", header.sample_rate, limits)


def _too_long(path: Path, duration: str, rate: int, limits: LengthLimits) -> AudioError:
    limit_s = limits.samples(rate) // rate
    return AudioError(path, "too long", f"{duration}; at most {limit_s} s at {rate} Hz")


def _decode_once(
    path: Path,
    look: FirstLook,
    view: FileView,
    limits: LengthLimits,
    *,
    careful: bool = False,
    channel: int | None = None,
) -> _Pass:
    """Decodes a file once, to the count of its header at most.

    Args:
        path: the file.
        look: at the file, before it was opened.
        view: the file as libsndfile sees it.
        limits: for its length.
        careful: goes on after an error, slowly.
        channel: the channel to use; None for the mean of all channels.
    """
    errors: list[str] = []
    with (
        collected_messages(look.may_be_mp3) as messages,
        opened(path, view, limits) as (raw, sound),
    ):
        header = sound_header(path, sound)
        count_is_stated = view == look.view  # not made up here
        if count_is_stated:
            _refuse_long(path, look.n_bytes, header, limits)
        rate, at_most = header.sample_rate, limits.samples(header.sample_rate)
        narrow = sound.subtype == "PCM_16"
        full_scale = 2.0**15 if narrow else 1.0
        mixdown = Mixdown(header.n_channels, full_scale=full_scale, channel=channel)
        claimable = _SAMPLES_PER_BYTE * look.n_bytes if count_is_stated else 0
        waveform = GrowingWaveform(min(header.n_frames or 0, at_most, claimable))
        for block in read_blocks(sound, header.n_frames, careful=careful):
            if isinstance(block, str):
                errors.append(f"{block} after {waveform.n / rate:.1f} s")
                continue
            if waveform.n + len(block) > at_most:
                raise _too_long(path, f"more than {at_most / rate:.0f} s", rate, limits)
            mono = waveform.added(len(block))
            mixdown.mix(block, out=mono)
            if not narrow:  # 16-bit samples are always in range
                _check_samples(path, mono, start_s=(waveform.n - len(block)) / rate)
        padding = _MP3_PADDING if sound.subtype.startswith("MPEG") else 0
        stopped_at = raw.tell()
        of_container = sound.messages
    reported = (*messages, *of_container)  # complete after the block
    return _Pass(waveform.samples(), header, padding, mixdown, stopped_at, reported, tuple(errors))


def _check_samples(path: Path, mono: npt.NDArray[np.float32], *, start_s: float) -> None:
    peak = np.maximum(mono.max(), -mono.min())  # NaN if any sample is NaN
    if not np.isfinite(peak):
        raise AudioError(path, "not finite", f"NaN or infinite samples after {start_s:.1f} s")
    if peak > MAX_PEAK:
        raise AudioError(path, "not finite", f"samples up to {peak:.3g}, where full scale is 1")


def _differing_header_s(
    path: Path, first: _Pass, sizes: SampleBytes | None, n_decoded: int
) -> float | None:
    """See `Recording.header_s`."""
    n_frames = first.header.n_frames
    if n_frames is None or (sizes is not None and sizes.stated is None):
        return 0.0
    if sizes is not None and sizes.stated != sizes.present:
        n_frames = round(n_decoded * (sizes.stated or 0) / max(1, sizes.present))
    if abs(n_frames - n_decoded) <= first.padding:
        return None
    if first.header.format == "MP3" and n_frames > n_decoded and mp3_count(path) is None:
        return None  # an estimate from the size, which tags at the end make larger
    return n_frames / first.header.sample_rate
