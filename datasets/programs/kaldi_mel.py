"""The log-mel spectrogram of PaSST and EfficientAT, in PyTorch.

128 bands of Kaldi's form up to 15 kHz, 100 frames a second, after a first difference of the
waveform.

Source: Koutini et al., "Efficient Training of Audio Transformers with Patchout", 2022,
https://arxiv.org/abs/2110.05069.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 32_000
N_FFT, WINDOW, HOP, N_MELS = 1_024, 800, 320, 128
TOP_HZ = 15_000.0
PREEMPHASIS = 0.97

_SHIFT, _SCALE, _LOG_OFFSET = 4.5, 5.0, 1e-5
_LARGEST_SAMPLE = 1e6  # keeps the power of any finite waveform finite


@lru_cache(maxsize=1)
def kaldi_filters() -> npt.NDArray[np.float32]:
    """Triangular filters of height 1 on Kaldi's mel scale, `(n_bins, n_mels)`; none at Nyquist.

    Source: Povey et al., "The Kaldi Speech Recognition Toolkit", 2011, https://kaldi-asr.org.
    """

    def mel(hz: Any) -> Any:
        return 1127.0 * np.log1p(np.asarray(hz) / 700.0)

    edges = np.linspace(mel(0.0), mel(TOP_HZ), N_MELS + 2)
    at = mel(np.arange(N_FFT // 2) * (SAMPLE_RATE / N_FFT))[:, None]  # (n_bins - 1, 1)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (at - left) / (centre - left), (right - at) / (right - centre)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return np.pad(triangles, ((0, 1), (0, 0))).astype(np.float32)


def log_mel(waveform: "Tensor", filters: "Tensor") -> "Tensor":
    """`(n_windows, n_samples)` -> `(n_windows, n_mels, n_frames)`."""
    import torch

    waveform = waveform.clamp(-_LARGEST_SAMPLE, _LARGEST_SAMPLE)
    spectrum = torch.stft(
        waveform[:, 1:] - PREEMPHASIS * waveform[:, :-1],
        N_FFT,
        HOP,
        WINDOW,
        window=torch.hann_window(WINDOW, periodic=False, device=waveform.device),
        pad_mode="reflect",
        return_complex=True,
    )
    power = spectrum.real.square() + spectrum.imag.square()
    mel = power.transpose(1, 2) @ filters  # (n_windows, n_frames, n_mels)
    return ((mel + _LOG_OFFSET).log().transpose(1, 2) + _SHIFT) / _SCALE
