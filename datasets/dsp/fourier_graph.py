"""Short-time Fourier transform (power spectrum) by matrix products, fast in every ONNX runtime.

`datasets.dsp.feature_networks` computes the features of an exported graph with it.

Source: the transform is factored into two steps, as in `datasets.dsp.mel_power`: Bailey, "FFTs in
external or hierarchical memory", 1990, https://doi.org/10.1007/BF00162341; each step is a product
with the matrix of a short transform.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chorale.datasets.dsp.mel_spectrogram import hann_window


class PowerSpectrum(nn.Module):
    """The power in each bin of each centred frame, with the bins permuted: see `filters`."""

    first: Tensor
    second: Tensor
    window: Tensor

    def __init__(self, n_fft: int, hop_length: int) -> None:
        """For Hann windows of `n_fft` samples, `hop_length` apart."""
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        self.n1, self.n2 = balanced_factors(n_fft)
        rows, columns = np.arange(self.n1 // 2 + 1), np.arange(self.n2)
        # over every n2-th sample: the other rows are complex conjugates of these
        short = np.exp(-2j * np.pi * np.outer(rows, np.arange(self.n1)) / self.n1)
        bins = rows[:, None] + self.n1 * columns  # (rows, n2): bin numbers
        rest = np.exp(-2j * np.pi * columns[None, :, None] * bins[:, None, :] / n_fft)
        # real and imaginary parts concatenated, in input and output
        parts = np.block([[rest.real, rest.imag], [-rest.imag, rest.real]])
        self.register_buffer("first", _float(np.concatenate([short.real, short.imag])))
        self.register_buffer("second", _float(parts))  # (rows, 2 n2, 2 n2)
        self.register_buffer("window", torch.from_numpy(hann_window(n_fft).copy()))

    def forward(self, waveform: Tensor) -> Tensor:
        """(n_samples,) -> (n_frames, n_rows * n2), framed as in `dsp.mel_spectrogram`."""
        frames = self._frames(waveform) * self.window  # (n_frames, n_fft)
        x = frames.reshape(-1, self.n1, self.n2)
        n_rows = self.n1 // 2 + 1
        halves = torch.matmul(self.first, x)  # (n_frames, 2 n_rows, n2)
        halves = halves.reshape(-1, 2, n_rows, self.n2).permute(2, 0, 1, 3)
        halves = halves.reshape(n_rows, -1, 2 * self.n2)
        both = torch.matmul(halves, self.second)  # (n_rows, n_frames, 2 n2)
        power = both[..., : self.n2].square() + both[..., self.n2 :].square()
        return power.permute(1, 0, 2).reshape(-1, n_rows * self.n2)

    def filters(self, over_bins: NDArray[np.float32]) -> Tensor:
        """The matrix that applies a filter bank to this module's permuted bins.

        Args:
            over_bins: (n_filters, 1 + n_fft // 2) filters over the bins in order; the identity
                restores the order of the bins.

        Returns:
            (n_rows * n2, n_filters).
        """
        found = np.zeros(((self.n1 // 2 + 1) * self.n2, len(over_bins)), np.float32)
        for k in range(over_bins.shape[1]):
            row, column = k % self.n1, k // self.n1
            if row > self.n1 // 2:  # the mirrored bin has the same power
                row, column = (self.n_fft - k) % self.n1, (self.n_fft - k) // self.n1
            found[row * self.n2 + column] += over_bins[:, k]
        return torch.from_numpy(found)

    def _frames(self, waveform: Tensor) -> Tensor:
        """(n_samples,) -> (n_frames, n_fft); the waveform is padded with zeros on both sides."""
        n_fft, hop = self.n_fft, self.hop_length
        half = n_fft // 2
        n_frames = (waveform.shape[0] + 2 * half - n_fft) // hop + 1
        padded = torch.cat([waveform.new_zeros(half), waveform, waveform.new_zeros(half + hop)])
        if n_fft % hop:
            at = torch.arange(n_frames, device=waveform.device) * hop
            return padded[at.unsqueeze(1) + torch.arange(n_fft)]
        n_parts = n_fft // hop
        hops = padded[: (n_frames + n_parts - 1) * hop].reshape(-1, hop)
        return torch.cat([hops[i : i + n_frames] for i in range(n_parts)], dim=1)


def balanced_factors(n: int) -> tuple[int, int]:
    """Two factors of `n`, the first the largest that is no larger than the second."""
    first = max(i for i in range(1, math.isqrt(n) + 1) if n % i == 0)
    return first, n // first


def _float(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
