"""Mixdown of audio channels to mono, block by block, and how much of them it cancels.

Channels in opposite phase, such as those of a cable with swapped poles, cancel in the mean of the
channels: it is silent though the file is not. `datasets.decoding.decode` uses it.
"""

import numpy as np
import numpy.typing as npt

MIN_CANCELLED_SHARE = 0.1
"""At least this share of the energy must be cancelled before one channel replaces the mean.

Below it, the mean loses less than half a decibel (10 log10 0.9), and the other channels would be
lost for nothing.
"""

_CANCELLED = 0.1  # of the power that the mean of uncorrelated channels has


class Mixdown:
    """The mean of the channels of each block, or one of its channels alone.

    A block is cancelled where the power of the mean is under a tenth of that of uncorrelated
    channels. For two channels of equal power, that is a correlation below -0.9: the mean is at
    least 13 dB below either of them. Ordinary stereo, however wide, is far above it over the length
    of a block (about a second).

    Where much is cancelled, one channel is taken rather than one of them inverted, because the
    phase may be opposite in a part of the recording only: the channel alone is right everywhere,
    with no jump between the parts.
    """

    def __init__(self, n_channels: int, *, full_scale: float, channel: int | None = None) -> None:
        """Mixes blocks of `n_channels`, or takes `channel` alone; `full_scale` becomes 1.0."""
        self._channel = 0 if n_channels == 1 else channel
        self._scale = np.float32(1 / (full_scale * (n_channels if self._channel is None else 1)))
        self._scaled = np.empty((0, n_channels), np.float32)
        self._energy = 0.0  # of all channels
        self._cancelled = np.zeros(n_channels)  # the energy of each channel in cancelled blocks

    @property
    def cancelled_share(self) -> float:
        """Share (0 to 1) of the measured energy of all channels that is in cancelled blocks."""
        return float(self._cancelled.sum()) / self._energy if self._energy > 0 else 0.0

    def channel_instead(self) -> int | None:
        """The channel to use instead of the mean; None where the mean loses little.

        It is the first of those that are within a decibel of the loudest one.
        """
        if self.cancelled_share < MIN_CANCELLED_SHARE:
            return None
        return int((self._cancelled > 0.8 * self._cancelled.max()).argmax())

    def mix(self, block: npt.NDArray[np.generic], *, out: npt.NDArray[np.float32]) -> None:
        """Mixes a block `(n, n_channels)` to `out` `(n,)`."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self._channel is not None:
                out[:] = block[:, self._channel]
                out *= self._scale
                return
            if len(self._scaled) < len(block):
                self._scaled = np.empty(block.shape, np.float32)
            scaled = self._scaled[: len(block)]
            if block.dtype == np.float32:
                np.multiply(block, self._scale, out=scaled)
            else:
                scaled[:] = block  # converted first: a product that also converts is buffered
                scaled *= self._scale
            # summed by column, as numpy is slow over a short last axis
            np.add(scaled[:, 0], scaled[:, 1], out=out)
            for channel in range(2, scaled.shape[1]):
                out += scaled[:, channel]
            # the first block whole, for short files; of the others a quarter, for speed
            n_measured = len(out) if self._energy == 0 else -(-len(out) // 4)
            self._measure(scaled[:n_measured], out[:n_measured], len(out) / n_measured)

    def _measure(
        self, scaled: npt.NDArray[np.float32], mean: npt.NDArray[np.float32], weight: float
    ) -> None:
        energy = float(np.vdot(scaled, scaled))
        self._energy += weight * energy
        if float(np.vdot(mean, mean)) < _CANCELLED * energy:
            self._cancelled += [weight * float(np.vdot(column, column)) for column in scaled.T]
