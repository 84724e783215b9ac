"""Compiled SIMD kernel for mel power spectrograms: the fast path of `datasets.dsp.mel_spectrogram`.

A block of frames is transformed at once, one frame per SIMD lane: each instruction works on the
same sample of all frames, so values are never shuffled between lanes. A block's arrays fit in a
core's L2 cache, and the working set of each step in its L1 cache.

Source: four-step FFT by Bailey, "FFTs in external or hierarchical memory", 1990,
https://doi.org/10.1007/BF00162341.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from chorale.datasets.dsp.compiled import compiled, inlined
from chorale.datasets.dsp.fft import LANES, fft_in_place, get_complex, output_order, put_complex

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

_FILTER_STEP = 4  # bins per iteration of the filter loop
_CACHE_LINE = 16  # samples per cache line


class SparseFilterBank(NamedTuple):
    """A filter bank without zeros: filter `i` has `n_bins_of[i]` weights from bin `first_bin[i]`.

    Lengths are multiples of four, so the last bins may be past the end of the spectrum; their
    weights are 0.
    """

    first_bin: Int64Array
    n_bins_of: Int64Array
    weights: Float32Array  # of all filters, one after the other

    @classmethod
    def of(cls, dense: Float32Array) -> "SparseFilterBank":
        """Removes the zeros of a dense bank `(n_filters, n_bins)`."""
        used = [np.flatnonzero(row) for row in dense]
        first_bin = np.array([u[0] if len(u) else 0 for u in used], np.int64)
        spans = [u[-1] + 1 - u[0] if len(u) else 0 for u in used]
        n_bins_of = np.array([-(-span // _FILTER_STEP) * _FILTER_STEP for span in spans], np.int64)
        padded = np.pad(dense, ((0, 0), (0, _FILTER_STEP)))
        weights = [row[a : a + n] for row, a, n in zip(padded, first_bin, n_bins_of, strict=True)]
        return cls(first_bin, n_bins_of, np.concatenate(weights))


class _FftTables(NamedTuple):
    """Tables of an FFT of one length; complex arrays have all real parts first."""

    twiddles1: Float32Array  # of the first short FFT, (2 * length1,)
    twiddles2: Float32Array  # of the second one, (2 * length2,)
    twiddles: Float32Array  # (2, length1, length2): between the two
    bin_offsets: Int64Array  # position of each bin in a block's spectra


def filtered_power(
    waveform: Float32Array,
    window: Float32Array,
    *,
    hop_length: int,
    filters: SparseFilterBank,
    out: Float32Array,
) -> None:
    """The filtered power spectrum of each frame; the waveform is zero-padded.

    Args:
        waveform: float32 `(n_samples,)`, contiguous. Frame `i` is centred on `i * hop_length`.
        window: float32 `(n_fft,)`; `n_fft` is a power of two from 256 to 4096.
        hop_length: samples from one frame to the next, 16 or more.
        filters: over the `1 + n_fft // 2` bins.
        out: the result, float32 `(n_frames, n_filters)`, contiguous.
    """
    n = len(window)
    _kernel(n)(waveform, hop_length, LANES, window, *_fft_tables(n), *filters, out)


def _factors(n: int) -> tuple[int, int]:
    """Two powers of two, about equal, whose product is `n`."""
    length1 = 1 << ((n.bit_length() - 1) // 2)
    return length1, n // length1


def _stride(n: int) -> int:
    """Row stride of a block's spectra in floats; a power of two would cause cache conflicts."""
    return (2 * _factors(n)[1] + 1) * LANES


@lru_cache(maxsize=8)
def _fft_tables(n: int) -> _FftTables:
    length1, length2 = _factors(n)
    order1, order2 = output_order(length1), output_order(length2)
    twiddles = np.empty((length1, length2), np.complex128)
    twiddles[order1] = _roots_of_unity(np.outer(np.arange(length1), np.arange(length2)), n)
    k = np.arange(n)
    bin_offsets = order1[k % length1] * _stride(n) + order2[k // length1] * LANES
    parts = (
        _roots_of_unity(np.arange(length1), length1),
        _roots_of_unity(np.arange(length2), length2),
        twiddles,
    )
    twiddles1, twiddles2, twiddle_parts = (
        np.stack([part.real, part.imag]).astype(np.float32).ravel() for part in parts
    )
    return _FftTables(twiddles1, twiddles2, twiddle_parts, bin_offsets)


def _roots_of_unity(steps: Int64Array, n: int) -> npt.NDArray[np.complex128]:
    return np.asarray(np.exp(-2j * np.pi * steps / n))


@lru_cache(maxsize=8)
def _kernel(n: int) -> Callable[..., None]:
    """The kernel for frames of `n` samples, compiled for this length: constants make it fast."""
    length1, length2 = _factors(n)
    stride, n_bins = _stride(n), n // 2 + 1

    def kernel(
        waveform: Float32Array,
        hop_length: int,
        lanes: int,  # always `LANES`; loops over a small constant would be unrolled, not vectorised
        window: Float32Array,
        twiddles1: Float32Array,
        twiddles2: Float32Array,
        twiddles: Float32Array,
        bin_offsets: Int64Array,
        first_bin: Int64Array,
        n_bins_of: Int64Array,
        weights: Float32Array,
        out: Float32Array,
    ) -> None:
        n_hops = 2 * LANES + (n - 1) // hop_length  # in the frames of a block
        hops = np.empty((hop_length, n_hops), np.float32)
        span = np.empty(n_hops * hop_length, np.float32)
        x = np.empty(2 * length1 * LANES, np.float32)
        spectra = np.empty(length1 * stride, np.float32)
        power = np.zeros((n_bins + _FILTER_STEP) * 2 * LANES, np.float32)
        bands = np.empty((len(first_bin), 2 * LANES), np.float32)
        at = np.array([j % hop_length * n_hops + j // hop_length for j in range(n)])
        for i in range(0, len(out), 2 * LANES):
            _copy_span(waveform, i * hop_length - n // 2, span)
            _transpose_hops(span, hops)
            for column in range(length2):
                _load_column(hops.ravel(), at, window, column, x, length1, length2, lanes)
                fft_in_place(x, length1, twiddles1, lanes)
                _apply_twiddles(x, twiddles, column, spectra, length1, length2, stride, lanes)
            for row in range(length1):
                fft_in_place(spectra[row * stride :], length2, twiddles2, lanes)
            _frame_power(spectra, bin_offsets, power, n, length2 * LANES, lanes)
            _apply_filters(power, first_bin, n_bins_of, weights, bands, lanes)
            for lane in range(min(2 * LANES, len(out) - i)):
                frame = out[i + lane]
                for band in range(len(first_bin)):
                    frame[band] = bands[band, lane]

    kernel.__qualname__ += f"_{n}"  # numba's index file, or processes would mix up two lengths
    return compiled(kernel)


# The functions below are inlined into the kernel, where lengths and strides are constants. A
# complex array has, for each element, the values of all lanes, real parts first.


@inlined
def _copy_span(waveform: Float32Array, start: int, span: Float32Array) -> None:
    """Copies the samples of a block, zero-padded if they extend beyond the waveform."""
    before = max(-start, 0)
    samples, inside = waveform[max(start, 0) : max(start + len(span), 0)], span[before:]
    span[:before] = 0
    for i in range(len(samples)):
        inside[i] = samples[i]
    inside[len(samples) :] = 0


@inlined
def _transpose_hops(span: Float32Array, hops: Float32Array) -> None:
    """Transposes hops to columns.

    Then the same sample of consecutive frames is contiguous, for all frames at once.
    """
    hop_length, n_hops = hops.shape
    for line in range(0, hop_length, _CACHE_LINE):
        top = min(line, hop_length - _CACHE_LINE)
        rows = hops[top : top + _CACHE_LINE]
        for hop in range(n_hops):
            samples = span[hop * hop_length + top :]
            for i in range(_CACHE_LINE):
                rows[i, hop] = samples[i]


@inlined
def _load_column(
    hops: Float32Array,
    at: Int64Array,
    window: Float32Array,
    column: int,
    x: Float32Array,
    length1: int,
    length2: int,
    lanes: int,
) -> None:
    """Loads every `length2`-th sample of all frames; two real frames make one complex frame."""
    imaginary = length1 * LANES
    for row in range(length1):
        j = row * length2 + column
        weight, frames, to = window[j], hops[at[j] :], x[row * LANES :]
        for i in range(lanes):
            to[i] = frames[i] * weight
            to[i + imaginary] = frames[i + LANES] * weight


@inlined
def _apply_twiddles(
    x: Float32Array,
    twiddles: Float32Array,
    column: int,
    spectra: Float32Array,
    length1: int,
    length2: int,
    stride: int,
    lanes: int,
) -> None:
    """Writes `x`, multiplied by twiddle factors, to column `column` of the spectra."""
    n = length1 * length2
    from_imaginary, to_imaginary = length1 * LANES, length2 * LANES
    for row in range(length1):
        j = row * length2 + column
        twiddle, z, to = (
            get_complex(twiddles, j, n),
            x[row * LANES :],
            spectra[row * stride + column * LANES :],
        )
        for i in range(lanes):
            put_complex(to, i, to_imaginary, get_complex(z, i, from_imaginary) * twiddle)


@inlined
def _frame_power(
    spectra: Float32Array,
    bin_offsets: Int64Array,
    power: Float32Array,
    n: int,
    imaginary: int,
    lanes: int,
) -> None:
    """The power of both real frames: from sum and difference of each bin and its mirror image."""
    quarter = np.float32(0.25)
    for k in range(n // 2 + 1):
        u, v, to = (
            spectra[bin_offsets[k] :],
            spectra[bin_offsets[(n - k) % n] :],
            power[k * 2 * LANES :],
        )
        u_imaginary, v_imaginary = u[imaginary:], v[imaginary:]
        for i in range(lanes):
            ar, ai = u[i] + v[i], u_imaginary[i] - v_imaginary[i]
            br, bi = u_imaginary[i] + v_imaginary[i], v[i] - u[i]
            to[i] = quarter * (ar * ar + ai * ai)
            to[i + LANES] = quarter * (br * br + bi * bi)


@inlined
def _apply_filters(
    power: Float32Array,
    first_bin: Int64Array,
    n_bins_of: Int64Array,
    weights: Float32Array,
    bands: Float32Array,
    lanes: int,
) -> None:
    """Applies the filter bank: weighted sums of the power of all frames."""
    begin, w = 0, 2 * LANES
    for band in range(len(first_bin)):
        sums = bands[band]
        for i in range(2 * lanes):
            sums[i] = 0
        for k in range(0, n_bins_of[band], _FILTER_STEP):
            p, w0, w1 = (
                power[(first_bin[band] + k) * w :],
                weights[begin + k],
                weights[begin + k + 1],
            )
            w2, w3 = weights[begin + k + 2], weights[begin + k + 3]
            for i in range(2 * lanes):
                sums[i] += (p[i] * w0 + p[i + w] * w1) + (p[i + 2 * w] * w2 + p[i + 3 * w] * w3)
        begin += n_bins_of[band]
