"""Resemblyzer: a speaker encoder; the same voice gives similar vectors for any words.

Three recurrent layers read the mel power spectrogram of 1.6 s; the vector has length 1 and no
negative values.

Source: Wan et al., "Generalized end-to-end loss for speaker verification", 2018,
https://arxiv.org/abs/1710.10467. Front end and weights are those of Resemblyzer 0.1.4, Resemble AI,
2019, https://github.com/resemble-ai/Resemblyzer: 40 mel bands (Slaney) of windows of 25 ms every
10 ms at 16 kHz, no logarithm, recordings raised to at least -30 dB below full scale. Its trimming
of silence is left out.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chorale.datasets.base import EncoderInfo, PackageFile
from chorale.datasets.dsp.mel_config import MelConfig
from chorale.datasets.dsp.mel_spectrogram import mel_spectrogram
from chorale.datasets.programs.exported_program import ProgramError

INFO = EncoderInfo(
    name="resemblyzer",
    title="Resemblyzer (speakers)",
    trained_on="speech of LibriSpeech, VoxCeleb 1 and VoxCeleb 2",
    code_licence="Apache-2.0 (Resemblyzer); Chorale has its own code",
    weights_licence="Apache-2.0",
    citation=(
        "Wan, Wang, Papir, Lopez Moreno: Generalized end-to-end loss for speaker verification. "
        "ICASSP 2018; weights by Resemble AI, 2019"
    ),
    homepage="https://github.com/resemble-ai/Resemblyzer",
    sample_rate=16_000,
    window_s=1.6,
    layers={"embedding": 256},
    file_name="pretrained.pt",
    weights=(
        PackageFile(
            package="Resemblyzer",
            version="0.1.4",
            member="resemblyzer/pretrained.pt",
            sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
        ),
    ),
    requires=("torch",),
)

_N_FRAMES, _N_MELS, _N_HIDDEN, _N_LAYERS = 160, 40, 256, 3
_MEL = MelConfig(sample_rate=INFO.sample_rate, n_fft=400, hop_length=160, n_mels=_N_MELS)
_TARGET_DBFS = -30.0
_MAX_GAIN_DB = 40.0
"""So that the noise of a silent window is not raised to a voice's level."""
_MAX_SAMPLE = 100.0
"""Full scale is 1; beyond this a sample is clipped, so that no sum overflows."""
_BATCH = 32


def load(
    file: Path,
    *,
    layer: str,
    device: str,
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """The encoder on `device`.

    It maps float32 `(n_windows, 25600)` to `(n_windows, 1, 256)`; a window below -30 dB is raised
    to it, by at most 40 dB.

    Raises:
        ProgramError: the file is damaged, or is no such network.
    """
    import torch

    del layer
    lstm = torch.nn.LSTM(_N_MELS, _N_HIDDEN, _N_LAYERS, batch_first=True)
    linear = torch.nn.Linear(_N_HIDDEN, INFO.layers["embedding"])
    network = torch.nn.ModuleDict({"lstm": lstm, "linear": linear})
    network.load_state_dict(_weights(file, network.state_dict()))
    network.eval().to(device)

    def encode(windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        mels = np.stack([mel_frames(window) for window in windows])
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            parts = []
            for start in range(0, len(mels), _BATCH):
                batch = torch.from_numpy(mels[start : start + _BATCH])
                _, (hidden, _) = lstm(batch.to(device))
                vectors = linear(hidden[-1]).relu()
                parts.append(torch.nn.functional.normalize(vectors, dim=1).cpu())
        return np.asarray(torch.cat(parts).numpy()[:, None], np.float32)

    return encode


def mel_frames(window: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The input of the network: float32 `(n_samples,)` -> `(160, 40)`."""
    samples = np.clip(window, -_MAX_SAMPLE, _MAX_SAMPLE)
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    if power > 0:
        gain_db = np.clip(_TARGET_DBFS - 10 * np.log10(power), 0, _MAX_GAIN_DB)
        samples = samples * np.float32(10 ** (gain_db / 20))
    mels = mel_spectrogram(samples.astype(np.float32), _MEL)
    return np.ascontiguousarray(mels.T[:_N_FRAMES], np.float32)


def _weights(file: Path, expected: dict[str, object]) -> dict[str, object]:
    """The tensors of the network; those of its training are left out."""
    import torch

    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)["model_state"]
        found = {name: saved[name] for name in expected}
    except Exception as error:  # for a damaged file PyTorch raises all kinds of exceptions
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ProgramError(f"holds no such network ({first:.200})") from None
    for name, tensor in found.items():
        if getattr(tensor, "shape", None) != getattr(expected[name], "shape", None):
            raise ProgramError(f"holds another network: '{name}' has another shape")
    return found
