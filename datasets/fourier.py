"""Mel power straight from the waveform, compiled: the fast path of `datasets.spectrum`.

Window, Fourier transform, power and filters are one loop over two frames at a time, which stay in
a core's innermost cache; an array for each step between would cost more than the step.

Source: the transform is Stockham's (Cochran et al., "What is the fast Fourier transform?", 1967,
https://doi.org/10.1109/TAU.1967.1161899) in two halves that run along the vector registers (Bailey,
"FFTs in external or hierarchical memory", 1990, https://doi.org/10.1007/BF00162341).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from datasets.compiled import compiled, inlined

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


class Filters(NamedTuple):
    """A filter bank without its zeros: filter `i` weighs `length_of[i]` bins from `first[i]` on."""

    first: Integers
    length_of: Integers
    weights: Floats  # of all filters, one after the other

    @classmethod
    def of(cls, dense: Floats) -> "Filters":
        """Takes the zeros out of `(n_filters, n_bins)`."""
        used = [np.flatnonzero(row) for row in dense]
        first = np.array([u[0] if len(u) else 0 for u in used], np.int64)
        length_of = np.array([u[-1] + 1 - u[0] if len(u) else 0 for u in used], np.int64)
        spans = [row[a : a + n] for row, a, n in zip(dense, first, length_of, strict=True)]
        return cls(first, length_of, np.concatenate(spans))


def filtered_power(
    samples: Floats, window: Floats, *, hop_length: int, filters: Filters, out: Floats
) -> None:
    """The power spectrum of each frame, summed by filters.

    Args:
        samples: float32 `(at least (n_frames - 1) * hop_length + n_fft,)`, contiguous.
        window: float32 `(n_fft,)`; `n_fft` is a power of two, 64 or more.
        hop_length: samples from one frame to the next.
        filters: over the `1 + n_fft // 2` bins.
        out: where it goes, float32 `(n_frames, n_filters)`, contiguous.
    """
    turns, twist = _roots(len(window))
    _kernel(len(window))(samples, hop_length, window, turns, twist, *filters, out)


def _halves(n: int) -> tuple[int, int]:
    """Two powers of two, about equal, whose product is `n`."""
    first = 1 << ((n.bit_length() - 1) // 2)
    return first, n // first


@lru_cache(maxsize=8)
def _roots(n: int) -> tuple[Floats, Floats]:
    """The `n` roots of one, and their products in between the halves; all real parts first."""
    first, second = _halves(n)
    steps = (np.arange(n), np.outer(np.arange(first), np.arange(second)).ravel())
    roots = [np.exp(-2j * np.pi * step / n) for step in steps]
    turns, twist = (np.concatenate([r.real, r.imag]).astype(np.float32) for r in roots)
    return turns, twist


@lru_cache(maxsize=8)
def _kernel(n: int) -> Callable[..., None]:
    """The loop for frames of `n` samples, and for this length alone: only constants are fast."""
    length1, length2 = _halves(n)

    def kernel(
        samples: Floats,
        hop_length: int,
        window: Floats,
        turns: Floats,
        twist: Floats,
        first: Integers,
        length_of: Integers,
        weights: Floats,
        out: Floats,
    ) -> None:
        x, y = np.empty(2 * n, np.float32), np.empty(2 * n, np.float32)
        power = np.empty(n + 2, np.float32)
        for i in range(0, len(out), 2):
            j = min(i + 1, len(out) - 1)  # an odd last frame goes with itself
            _load(samples[i * hop_length :], samples[j * hop_length :], window, x, n)
            x, y = _transform_columns(x, y, n, length1, turns)
            _transpose(x, y, n, length1, twist)
            y, x = _transform_columns(y, x, n, length2, turns)
            _part(y, power, n)
            _filter(power, n, first, length_of, weights, out[i], out[j])

    return compiled(kernel)


# What follows is inlined into the kernel, where `n` and all distances that it gives are constants.
# A complex array is one of twice the length, the real parts first.


@inlined
def _load(a: Floats, b: Floats, window: Floats, x: Floats, n: int) -> None:
    """Two real frames become the real and the imaginary part of one."""
    for i in range(n):
        x[i] = a[i] * window[i]
        x[i + n] = b[i] * window[i]


@inlined
def _transform_columns(
    x: Floats, y: Floats, n: int, length: int, turns: Floats
) -> tuple[Floats, Floats]:
    """Transforms `x` as `(length, n // length)` along its first axis: (result, what is spare)."""
    done, rest = 1, length
    while rest > 2:
        rest //= 4
    if rest == 2:  # an odd power of two begins with a step of two rows
        for q in range(n // 2):
            y[q] = x[q] + x[q + n // 2]
            y[q + n] = x[q + n] + x[q + n // 2 + n]
            y[q + n // 2] = x[q] - x[q + n // 2]
            y[q + n // 2 + n] = x[q + n] - x[q + n // 2 + n]
        x, y, done = y, x, 2
    while done < length:
        for p in range(done):
            _radix4(x, y, n, n // (4 * done), p, turns)
        x, y, done = y, x, 4 * done
    return x, y


@inlined
def _radix4(x: Floats, y: Floats, n: int, size: int, p: int, turns: Floats) -> None:
    """Four neighbouring rows of `size` become one row in each quarter of `y`."""
    step, quarter = p * size, n // 4
    c1, c2, c3 = turns[step], turns[2 * step], turns[3 * step]
    s1, s2, s3 = turns[step + n], turns[2 * step + n], turns[3 * step + n]
    x0, x1 = x[4 * p * size :], x[(4 * p + 1) * size :]
    x2, x3 = x[(4 * p + 2) * size :], x[(4 * p + 3) * size :]
    z = y[p * size :]
    for q in range(size):
        tr, ti = x1[q] * c1 - x1[q + n] * s1, x1[q] * s1 + x1[q + n] * c1
        ur, ui = x2[q] * c2 - x2[q + n] * s2, x2[q] * s2 + x2[q + n] * c2
        vr, vi = x3[q] * c3 - x3[q + n] * s3, x3[q] * s3 + x3[q + n] * c3
        ar, ai, br, bi = x0[q] + ur, x0[q + n] + ui, x0[q] - ur, x0[q + n] - ui
        cr, ci, dr, di = tr + vr, ti + vi, tr - vr, ti - vi
        z[q] = ar + cr
        z[q + n] = ai + ci
        z[q + quarter] = br + di
        z[q + quarter + n] = bi - dr
        z[q + 2 * quarter] = ar - cr
        z[q + 2 * quarter + n] = ai - ci
        z[q + 3 * quarter] = br - di
        z[q + 3 * quarter + n] = bi + dr


@inlined
def _transpose(x: Floats, y: Floats, n: int, rows: int, twist: Floats) -> None:
    """The turned transpose of `x` as `(rows, n // rows)`."""
    columns = n // rows
    width = min(16, columns)  # as many columns as the cache takes beside all rows
    for left in range(0, columns, width):
        for row in range(rows):
            at = row * columns + left
            source, turn, target = x[at:], twist[at:], y[left * rows + row :]
            for i in range(width):
                target[i * rows] = source[i] * turn[i] - source[i + n] * turn[i + n]
                target[i * rows + n] = source[i] * turn[i + n] + source[i + n] * turn[i]


@inlined
def _part(z: Floats, power: Floats, n: int) -> None:
    """The power of both frames: of sum and difference of each bin and its mirror image."""
    quarter, n_bins = np.float32(0.25), n // 2 + 1
    power[0], power[n_bins] = z[0] * z[0], z[n] * z[n]
    for k in range(1, n_bins):
        ar, ai = z[k] + z[n - k], z[n + k] - z[2 * n - k]
        br, bi = z[n + k] + z[2 * n - k], z[n - k] - z[k]
        power[k] = quarter * (ar * ar + ai * ai)
        power[k + n_bins] = quarter * (br * br + bi * bi)


@inlined
def _filter(
    power: Floats,
    n: int,
    first: Integers,
    length_of: Integers,
    weights: Floats,
    out1: Floats,
    out2: Floats,
) -> None:
    """The weighted sums of both frames' power."""
    begin, n_bins = 0, n // 2 + 1
    for f in range(len(first)):
        bins, weight = power[first[f] :], weights[begin:]
        sum1, sum2 = np.float32(0), np.float32(0)
        for k in range(length_of[f]):
            sum1 += bins[k] * weight[k]
            sum2 += bins[k + n_bins] * weight[k]
        out1[f], out2[f] = sum1, sum2
        begin += length_of[f]
