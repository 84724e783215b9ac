"""Short Fourier transforms of many frames at once: `datasets.dsp.mel_power` builds longer ones.

An array of complex numbers holds, for each of them, the values of all `LANES`; first the real parts
of all numbers, then the imaginary ones. Every function is inlined into the loop that calls it.

Source: the transform is that of Gentleman and Sande, "Fast Fourier Transforms: for fun and profit",
1966, https://doi.org/10.1145/1464291.1464352.
"""

import numpy as np
import numpy.typing as npt

from chorale.datasets.dsp.compiled import inlined

Floats = npt.NDArray[np.float32]

LANES = 16  # one register of AVX-512, two of AVX2
RADICES = {16: (4, 4), 32: (4, 8), 64: (8, 8)}
"""The lengths there are, and the radices of the two passes that each takes."""

_DIAGONAL = np.float32(np.sqrt(0.5))


@inlined
def transform(x: Floats, length: int, turns: Floats, lanes: int) -> None:
    """Transforms the first `length` complex numbers of `x` in place; `order` tells what is where.

    Args:
        x: float32 `(at least 2 * length * LANES,)`.
        length: one of `RADICES`.
        turns: the roots of one, `exp(-2j * pi * k / length)`: float32 `(2 * length,)`.
        lanes: `LANES`, but no constant: a loop over a few constant steps would be unrolled, and
            what is unrolled is not vectorised.
    """
    if length == 64:
        _first8(x, length, turns, lanes)
    else:
        _first4(x, length, turns, lanes)
    if length == 16:
        _last4(x, length, lanes)
    else:
        _last8(x, length, lanes)


def order(length: int) -> npt.NDArray[np.int64]:
    """Where `transform` leaves each of its results, int64 `(length,)`."""
    radix1, radix2 = RADICES[length]
    k = np.arange(length)
    return k % radix1 * radix2 + k // radix1


@inlined
def get(x: Floats, i: int, m: int) -> complex:
    """The complex number whose imaginary part stands `m` floats after its real part."""
    return complex(x[i], x[i + m])


@inlined
def put(x: Floats, i: int, m: int, z: complex) -> None:
    """Stores `z` where `get` finds it."""
    x[i], x[i + m] = z.real, z.imag


# Below, `s` is the distance from one operand of a butterfly to the next, `m` that from real to
# imaginary parts. A pass writes where it has read: of two arrays the compiler cannot know whether
# they overlap, and eight rows in two arrays are too many for it to find out while it runs.


@inlined
def _first4(x: Floats, length: int, turns: Floats, lanes: int) -> None:
    """Four numbers far apart become one in each quarter, turned for the next pass."""
    m, s = length * LANES, length * LANES // 4
    for j in range(length // 4):
        t1, t2, t3 = get(turns, j, length), get(turns, 2 * j, length), get(turns, 3 * j, length)
        v = x[j * LANES :]
        for i in range(lanes):
            a, b = get(v, i, m), get(v, i + s, m)
            c, d = get(v, i + 2 * s, m), get(v, i + 3 * s, m)
            a, b, c, d = _four(a, b, c, d)
            put(v, i, m, a)
            put(v, i + s, m, b * t1)
            put(v, i + 2 * s, m, c * t2)
            put(v, i + 3 * s, m, d * t3)


@inlined
def _first8(x: Floats, length: int, turns: Floats, lanes: int) -> None:
    """Eight numbers far apart become one in each eighth, turned for the next pass."""
    m, s = length * LANES, length * LANES // 8
    for j in range(length // 8):
        t1, t2, t3 = get(turns, j, length), get(turns, 2 * j, length), get(turns, 3 * j, length)
        t4, t5 = get(turns, 4 * j, length), get(turns, 5 * j, length)
        t6, t7 = get(turns, 6 * j, length), get(turns, 7 * j, length)
        v = x[j * LANES :]
        for i in range(lanes):
            a, b, c, d, e, f, g, h = _eight_of(v, i, s, m)
            put(v, i, m, a)
            put(v, i + s, m, b * t1)
            put(v, i + 2 * s, m, c * t2)
            put(v, i + 3 * s, m, d * t3)
            put(v, i + 4 * s, m, e * t4)
            put(v, i + 5 * s, m, f * t5)
            put(v, i + 6 * s, m, g * t6)
            put(v, i + 7 * s, m, h * t7)


@inlined
def _last4(x: Floats, length: int, lanes: int) -> None:
    """Transforms each four neighbours."""
    m, s = length * LANES, LANES
    for j in range(length // 4):
        v = x[4 * j * LANES :]
        for i in range(lanes):
            a, b = get(v, i, m), get(v, i + s, m)
            c, d = get(v, i + 2 * s, m), get(v, i + 3 * s, m)
            a, b, c, d = _four(a, b, c, d)
            put(v, i, m, a)
            put(v, i + s, m, b)
            put(v, i + 2 * s, m, c)
            put(v, i + 3 * s, m, d)


@inlined
def _last8(x: Floats, length: int, lanes: int) -> None:
    """Transforms each eight neighbours."""
    m, s = length * LANES, LANES
    for j in range(length // 8):
        v = x[8 * j * LANES :]
        for i in range(lanes):
            a, b, c, d, e, f, g, h = _eight_of(v, i, s, m)
            put(v, i, m, a)
            put(v, i + s, m, b)
            put(v, i + 2 * s, m, c)
            put(v, i + 3 * s, m, d)
            put(v, i + 4 * s, m, e)
            put(v, i + 5 * s, m, f)
            put(v, i + 6 * s, m, g)
            put(v, i + 7 * s, m, h)


Four = tuple[complex, complex, complex, complex]
Eight = tuple[complex, complex, complex, complex, complex, complex, complex, complex]


@inlined
def _four(a: complex, b: complex, c: complex, d: complex) -> Four:
    """The transform of four numbers."""
    e, f, g, h = a + c, a - c, b + d, _back(b - d)
    return e + g, f + h, e - g, f - h


@inlined
def _eight_of(v: Floats, i: int, s: int, m: int) -> Eight:
    """The transform of eight numbers, of the even ones and of the odd ones first."""
    e0, e1, e2, e3 = _four(
        get(v, i, m), get(v, i + 2 * s, m), get(v, i + 4 * s, m), get(v, i + 6 * s, m)
    )
    o0, o1, o2, o3 = _four(
        get(v, i + s, m), get(v, i + 3 * s, m), get(v, i + 5 * s, m), get(v, i + 7 * s, m)
    )
    o1, o2, o3 = _eighth_back(o1), _back(o2), _eighth_back(_back(o3))
    return e0 + o0, e1 + o1, e2 + o2, e3 + o3, e0 - o0, e1 - o1, e2 - o2, e3 - o3


@inlined
def _back(z: complex) -> complex:
    """A quarter of a turn clockwise."""
    return complex(z.imag, -z.real)


@inlined
def _eighth_back(z: complex) -> complex:
    """An eighth of a turn clockwise."""
    return complex(_DIAGONAL * (z.real + z.imag), _DIAGONAL * (z.imag - z.real))
