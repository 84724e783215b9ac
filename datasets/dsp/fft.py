"""Vectorised FFTs of 16, 32 and 64 points over lanes of frames; `mel_power` composes longer ones.

A complex array has, for each element, the values of all `LANES`; first the real parts of all
elements, then the imaginary parts. Every function is inlined into its caller.

Source: decimation in frequency by Gentleman and Sande, "Fast Fourier Transforms: for fun and
profit", 1966, https://doi.org/10.1145/1464291.1464352.
"""

import numpy as np
import numpy.typing as npt

from chorale.datasets.dsp.compiled import inlined

Float32Array = npt.NDArray[np.float32]

LANES = 16  # one register of AVX-512, two of AVX2
RADICES = {16: (4, 4), 32: (4, 8), 64: (8, 8)}
"""Supported lengths, and the radices of their two passes."""

_DIAGONAL = np.float32(np.sqrt(0.5))


@inlined
def fft_in_place(x: Float32Array, length: int, twiddles: Float32Array, lanes: int) -> None:
    """In-place FFT of the first `length` elements of `x`; results are in digit-reversed order.

    `output_order` has the position of each result.

    Args:
        x: float32 `(at least 2 * length * LANES,)`.
        length: one of `RADICES`.
        twiddles: twiddle factors `exp(-2j * pi * k / length)`: float32 `(2 * length,)`.
        lanes: `LANES` as a variable: a loop over a small constant would be unrolled instead of
            vectorised.
    """
    if length == 64:
        _first_radix8(x, length, twiddles, lanes)
    else:
        _first_radix4(x, length, twiddles, lanes)
    if length == 16:
        _last_radix4(x, length, lanes)
    else:
        _last_radix8(x, length, lanes)


def output_order(length: int) -> npt.NDArray[np.int64]:
    """Position of each result of `fft_in_place`, int64 `(length,)`."""
    radix1, radix2 = RADICES[length]
    k = np.arange(length)
    return k % radix1 * radix2 + k // radix1


@inlined
def get_complex(x: Float32Array, i: int, m: int) -> complex:
    """Loads the complex number whose imaginary part is `m` floats after its real part."""
    return complex(x[i], x[i + m])


@inlined
def put_complex(x: Float32Array, i: int, m: int, z: complex) -> None:
    """Stores `z` at the position of `get_complex`."""
    x[i], x[i + m] = z.real, z.imag


# Below, `s` is the stride between the operands of a butterfly, `m` that from real to imaginary
# parts. Passes work in place: with two arrays the compiler cannot exclude aliasing, and eight rows
# in two arrays are too many for its alias checks at run time.


@inlined
def _first_radix4(x: Float32Array, length: int, twiddles: Float32Array, lanes: int) -> None:
    """First pass, radix 4: butterflies over the four quarters, multiplied by twiddle factors."""
    m, s = length * LANES, length * LANES // 4
    for j in range(length // 4):
        t1, t2, t3 = (
            get_complex(twiddles, j, length),
            get_complex(twiddles, 2 * j, length),
            get_complex(twiddles, 3 * j, length),
        )
        v = x[j * LANES :]
        for i in range(lanes):
            a, b = get_complex(v, i, m), get_complex(v, i + s, m)
            c, d = get_complex(v, i + 2 * s, m), get_complex(v, i + 3 * s, m)
            a, b, c, d = _dft4(a, b, c, d)
            put_complex(v, i, m, a)
            put_complex(v, i + s, m, b * t1)
            put_complex(v, i + 2 * s, m, c * t2)
            put_complex(v, i + 3 * s, m, d * t3)


@inlined
def _first_radix8(x: Float32Array, length: int, twiddles: Float32Array, lanes: int) -> None:
    """First pass, radix 8: butterflies over the eight eighths, multiplied by twiddle factors."""
    m, s = length * LANES, length * LANES // 8
    for j in range(length // 8):
        t1, t2, t3 = (
            get_complex(twiddles, j, length),
            get_complex(twiddles, 2 * j, length),
            get_complex(twiddles, 3 * j, length),
        )
        t4, t5 = get_complex(twiddles, 4 * j, length), get_complex(twiddles, 5 * j, length)
        t6, t7 = get_complex(twiddles, 6 * j, length), get_complex(twiddles, 7 * j, length)
        v = x[j * LANES :]
        for i in range(lanes):
            a, b, c, d, e, f, g, h = _dft8(v, i, s, m)
            put_complex(v, i, m, a)
            put_complex(v, i + s, m, b * t1)
            put_complex(v, i + 2 * s, m, c * t2)
            put_complex(v, i + 3 * s, m, d * t3)
            put_complex(v, i + 4 * s, m, e * t4)
            put_complex(v, i + 5 * s, m, f * t5)
            put_complex(v, i + 6 * s, m, g * t6)
            put_complex(v, i + 7 * s, m, h * t7)


@inlined
def _last_radix4(x: Float32Array, length: int, lanes: int) -> None:
    """Last pass, radix 4: DFTs of four adjacent elements."""
    m, s = length * LANES, LANES
    for j in range(length // 4):
        v = x[4 * j * LANES :]
        for i in range(lanes):
            a, b = get_complex(v, i, m), get_complex(v, i + s, m)
            c, d = get_complex(v, i + 2 * s, m), get_complex(v, i + 3 * s, m)
            a, b, c, d = _dft4(a, b, c, d)
            put_complex(v, i, m, a)
            put_complex(v, i + s, m, b)
            put_complex(v, i + 2 * s, m, c)
            put_complex(v, i + 3 * s, m, d)


@inlined
def _last_radix8(x: Float32Array, length: int, lanes: int) -> None:
    """Last pass, radix 8: DFTs of eight adjacent elements."""
    m, s = length * LANES, LANES
    for j in range(length // 8):
        v = x[8 * j * LANES :]
        for i in range(lanes):
            a, b, c, d, e, f, g, h = _dft8(v, i, s, m)
            put_complex(v, i, m, a)
            put_complex(v, i + s, m, b)
            put_complex(v, i + 2 * s, m, c)
            put_complex(v, i + 3 * s, m, d)
            put_complex(v, i + 4 * s, m, e)
            put_complex(v, i + 5 * s, m, f)
            put_complex(v, i + 6 * s, m, g)
            put_complex(v, i + 7 * s, m, h)


Complex4 = tuple[complex, complex, complex, complex]
Complex8 = tuple[complex, complex, complex, complex, complex, complex, complex, complex]


@inlined
def _dft4(a: complex, b: complex, c: complex, d: complex) -> Complex4:
    """DFT of four numbers."""
    e, f, g, h = a + c, a - c, b + d, _times_minus_i(b - d)
    return e + g, f + h, e - g, f - h


@inlined
def _dft8(v: Float32Array, i: int, s: int, m: int) -> Complex8:
    """DFT of eight numbers by DFTs of the even and of the odd ones."""
    e0, e1, e2, e3 = _dft4(
        get_complex(v, i, m),
        get_complex(v, i + 2 * s, m),
        get_complex(v, i + 4 * s, m),
        get_complex(v, i + 6 * s, m),
    )
    o0, o1, o2, o3 = _dft4(
        get_complex(v, i + s, m),
        get_complex(v, i + 3 * s, m),
        get_complex(v, i + 5 * s, m),
        get_complex(v, i + 7 * s, m),
    )
    o1, o2, o3 = _rotate_eighth(o1), _times_minus_i(o2), _rotate_eighth(_times_minus_i(o3))
    return e0 + o0, e1 + o1, e2 + o2, e3 + o3, e0 - o0, e1 - o1, e2 - o2, e3 - o3


@inlined
def _times_minus_i(z: complex) -> complex:
    """`z * -1j`."""
    return complex(z.imag, -z.real)


@inlined
def _rotate_eighth(z: complex) -> complex:
    """`z * exp(-1j * pi / 4)`."""
    return complex(_DIAGONAL * (z.real + z.imag), _DIAGONAL * (z.imag - z.real))
