"""Mel power straight from the waveform, compiled: the fast path of `datasets.dsp.mel_spectrogram`.

A block of frames is transformed at once, each frame in a lane of its own: whatever is done to one
sample is done to that sample of all frames by one instruction, and nothing is ever shuffled between
lanes. A block's arrays stay in a core's second cache, and what a step works on in its first.

Source: the transform goes in two halves: Bailey, "FFTs in external or hierarchical memory", 1990,
https://doi.org/10.1007/BF00162341.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from chorale.datasets.dsp.compiled import compiled, inlined
from chorale.datasets.dsp.fft import LANES, get, order, put, transform

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_AT_ONCE = 4  # bins that a filter weighs in one step
_LINE = 16  # samples that memory gives in one piece


class Filters(NamedTuple):
    """A filter bank without its zeros: filter `i` weighs `length_of[i]` bins from `first[i]` on.

    Lengths are multiples of four, so the last bins may lie past the spectrum's end; they weigh 0.
    """

    first: Integers
    length_of: Integers
    weights: Floats  # of all filters, one after the other

    @classmethod
    def of(cls, dense: Floats) -> "Filters":
        """Takes the zeros out of `(n_filters, n_bins)`."""
        used = [np.flatnonzero(row) for row in dense]
        first = np.array([u[0] if len(u) else 0 for u in used], np.int64)
        spans = [u[-1] + 1 - u[0] if len(u) else 0 for u in used]
        length_of = np.array([-(-span // _AT_ONCE) * _AT_ONCE for span in spans], np.int64)
        padded = np.pad(dense, ((0, 0), (0, _AT_ONCE)))
        weights = [row[a : a + n] for row, a, n in zip(padded, first, length_of, strict=True)]
        return cls(first, length_of, np.concatenate(weights))


class _Tables(NamedTuple):
    """What a transform of one length needs to know; of complex numbers all real parts first."""

    turns1: Floats  # the roots of one, of the first half's length
    turns2: Floats
    twist: Floats  # (2, length1, length2): the turns in between the halves
    where: Integers  # of each bin in a block's spectra


def filtered_power(
    waveform: Floats, window: Floats, *, hop_length: int, filters: Filters, out: Floats
) -> None:
    """The power spectrum of each frame, summed by filters; silence surrounds the waveform.

    Args:
        waveform: float32 `(n_samples,)`, contiguous. Frame `i` is centred on `i * hop_length`.
        window: float32 `(n_fft,)`; `n_fft` is a power of two from 256 to 4096.
        hop_length: samples from one frame to the next, 16 or more.
        filters: over the `1 + n_fft // 2` bins.
        out: where it goes, float32 `(n_frames, n_filters)`, contiguous.
    """
    n = len(window)
    _kernel(n)(waveform, hop_length, LANES, window, *_tables(n), *filters, out)


def _halves(n: int) -> tuple[int, int]:
    """Two powers of two, about equal, whose product is `n`."""
    first = 1 << ((n.bit_length() - 1) // 2)
    return first, n // first


def _stride(n: int) -> int:
    """Floats from one row of a block's spectra to the next; a power of two would miss the cache."""
    return (2 * _halves(n)[1] + 1) * LANES


@lru_cache(maxsize=8)
def _tables(n: int) -> _Tables:
    length1, length2 = _halves(n)
    order1, order2 = order(length1), order(length2)
    twist = np.empty((length1, length2), np.complex128)
    twist[order1] = _turns(np.outer(np.arange(length1), np.arange(length2)), n)
    k = np.arange(n)
    where = order1[k % length1] * _stride(n) + order2[k // length1] * LANES
    parts = (_turns(np.arange(length1), length1), _turns(np.arange(length2), length2), twist)
    turns1, turns2, twist_parts = (
        np.stack([part.real, part.imag]).astype(np.float32).ravel() for part in parts
    )
    return _Tables(turns1, turns2, twist_parts, where)


def _turns(steps: Integers, n: int) -> npt.NDArray[np.complex128]:
    return np.asarray(np.exp(-2j * np.pi * steps / n))


@lru_cache(maxsize=8)
def _kernel(n: int) -> Callable[..., None]:
    """The loop for frames of `n` samples, and for this length alone: only constants are fast."""
    length1, length2 = _halves(n)
    stride, n_bins = _stride(n), n // 2 + 1

    def kernel(
        waveform: Floats,
        hop_length: int,
        lanes: int,  # always `LANES`; but loops over a constant few are unrolled, not vectorised
        window: Floats,
        turns1: Floats,
        turns2: Floats,
        twist: Floats,
        where: Integers,
        first: Integers,
        length_of: Integers,
        weights: Floats,
        out: Floats,
    ) -> None:
        n_hops = 2 * LANES + (n - 1) // hop_length  # that a block's frames touch
        hops = np.empty((hop_length, n_hops), np.float32)
        span = np.empty(n_hops * hop_length, np.float32)
        x = np.empty(2 * length1 * LANES, np.float32)
        spectra = np.empty(length1 * stride, np.float32)
        power = np.zeros((n_bins + _AT_ONCE) * 2 * LANES, np.float32)
        bands = np.empty((len(first), 2 * LANES), np.float32)
        at = np.array([j % hop_length * n_hops + j // hop_length for j in range(n)])
        for i in range(0, len(out), 2 * LANES):
            _cut(waveform, i * hop_length - n // 2, span)
            _turn(span, hops)
            for column in range(length2):
                _load(hops.ravel(), at, window, column, x, length1, length2, lanes)
                transform(x, length1, turns1, lanes)
                _twist(x, twist, column, spectra, length1, length2, stride, lanes)
            for row in range(length1):
                transform(spectra[row * stride :], length2, turns2, lanes)
            _part(spectra, where, power, n, length2 * LANES, lanes)
            _filter(power, first, length_of, weights, bands, lanes)
            for lane in range(min(2 * LANES, len(out) - i)):
                frame = out[i + lane]
                for band in range(len(first)):
                    frame[band] = bands[band, lane]

    return compiled(kernel)


# What follows is inlined into the kernel, where lengths and all distances they give are constants.
# An array of complex numbers holds, for each of them, the values of all lanes, real parts first.


@inlined
def _cut(waveform: Floats, start: int, span: Floats) -> None:
    """Copies what a block needs; `start` may lie before the waveform, and its end after it."""
    before = max(-start, 0)
    samples, inside = waveform[max(start, 0) : max(start + len(span), 0)], span[before:]
    span[:before] = 0
    for i in range(len(samples)):
        inside[i] = samples[i]
    inside[len(samples) :] = 0


@inlined
def _turn(span: Floats, hops: Floats) -> None:
    """Each hop becomes a column.

    So the same sample of frames that follow one another lies side by side, for all frames at once.
    """
    hop_length, n_hops = hops.shape
    for line in range(0, hop_length, _LINE):
        top = min(line, hop_length - _LINE)
        rows = hops[top : top + _LINE]
        for hop in range(n_hops):
            samples = span[hop * hop_length + top :]
            for i in range(_LINE):
                rows[i, hop] = samples[i]


@inlined
def _load(
    hops: Floats,
    at: Integers,
    window: Floats,
    column: int,
    x: Floats,
    length1: int,
    length2: int,
    lanes: int,
) -> None:
    """Every `length2`-th sample of all frames; two real frames become one complex one."""
    imaginary = length1 * LANES
    for row in range(length1):
        j = row * length2 + column
        weight, frames, to = window[j], hops[at[j] :], x[row * LANES :]
        for i in range(lanes):
            to[i] = frames[i] * weight
            to[i + imaginary] = frames[i + LANES] * weight


@inlined
def _twist(
    x: Floats,
    twist: Floats,
    column: int,
    spectra: Floats,
    length1: int,
    length2: int,
    stride: int,
    lanes: int,
) -> None:
    """Column `column` of the spectra becomes `x`, turned."""
    n = length1 * length2
    from_imaginary, to_imaginary = length1 * LANES, length2 * LANES
    for row in range(length1):
        j = row * length2 + column
        turn, z, to = get(twist, j, n), x[row * LANES :], spectra[row * stride + column * LANES :]
        for i in range(lanes):
            put(to, i, to_imaginary, get(z, i, from_imaginary) * turn)


@inlined
def _part(
    spectra: Floats, where: Integers, power: Floats, n: int, imaginary: int, lanes: int
) -> None:
    """The power of both frames: of sum and difference of each bin and its mirror image."""
    quarter = np.float32(0.25)
    for k in range(n // 2 + 1):
        u, v, to = spectra[where[k] :], spectra[where[(n - k) % n] :], power[k * 2 * LANES :]
        u_imaginary, v_imaginary = u[imaginary:], v[imaginary:]
        for i in range(lanes):
            ar, ai = u[i] + v[i], u_imaginary[i] - v_imaginary[i]
            br, bi = u_imaginary[i] + v_imaginary[i], v[i] - u[i]
            to[i] = quarter * (ar * ar + ai * ai)
            to[i + LANES] = quarter * (br * br + bi * bi)


@inlined
def _filter(
    power: Floats,
    first: Integers,
    length_of: Integers,
    weights: Floats,
    bands: Floats,
    lanes: int,
) -> None:
    """The weighted sums of all frames' power."""
    begin, w = 0, 2 * LANES
    for band in range(len(first)):
        sums = bands[band]
        for i in range(2 * lanes):
            sums[i] = 0
        for k in range(0, length_of[band], _AT_ONCE):
            p, w0, w1 = power[(first[band] + k) * w :], weights[begin + k], weights[begin + k + 1]
            w2, w3 = weights[begin + k + 2], weights[begin + k + 3]
            for i in range(2 * lanes):
                sums[i] += (p[i] * w0 + p[i + w] * w1) + (p[i + 2 * w] * w2 + p[i + 3 * w] * w3)
        begin += length_of[band]
