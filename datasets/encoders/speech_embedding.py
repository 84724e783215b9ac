"""Google's speech embedding: 96 values every 80 ms, each from 0.78 s of sound.

A network that was trained to tell keywords apart, so that few examples teach it others. Two files:
the first turns samples into a mel spectrogram (32 bands up to 3.8 kHz, 100 frames a second), the
second 76 of its frames into an embedding.

Source: Lin et al., "Training keyword spotters with limited and synthesized speech data", 2020,
https://arxiv.org/abs/2002.01322. How the two files are joined is documented in openWakeWord,
https://github.com/dscripka/openWakeWord: samples in the range of int16, 8 frames at a time, since
the first file cuts off what is 80 dB below the loudest of its frames, and decibels / 10 + 2.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chorale.datasets.base import EncoderInfo, PackageFile
from chorale.datasets.programs.guarded_program import GuardedProgram, ModelFile

INFO = EncoderInfo(
    name="speech_embedding",
    title="Google speech embedding (spoken words)",
    trained_on="speech of videos, to tell 5,000 keywords apart",
    code_licence="Apache-2.0 (pyopen-wakeword); Chorale runs the files alone",
    weights_licence="Apache-2.0",
    citation=(
        "Lin, Kilgour, Roblek, Sharifi: Training keyword spotters with limited and synthesized "
        "speech data. ICASSP 2020"
    ),
    homepage="https://github.com/rhasspy/pyopen-wakeword",
    sample_rate=16_000,
    window_s=2.03,  # 25 chunks
    layers={"embedding": 96},
    file_name="embedding_model.tflite",
    weights=(
        PackageFile(
            package="pyopen-wakeword",
            version="1.1.0",
            member="pyopen_wakeword/models/embedding_model.tflite",
            sha256="c0aea21eb84a4ce90a08c870da41b7a7173b45269e6a3207c71d67c40f3a59d8",
        ),
        PackageFile(
            package="pyopen-wakeword",
            version="1.1.0",
            member="pyopen_wakeword/models/melspectrogram.tflite",
            sha256="96fa0adccb6e8cf95cb14465409a1a2898ee4a96a85bb9ed3c7eb0e68bf163e8",
        ),
    ),
    requires=("ai-edge-litert",),
)

_MEL_FILE = "melspectrogram.tflite"
_N_FRAMES, _STEP = 76, 8
"""Of the spectrogram: what one embedding reads, and how far the next is."""
_CHUNK, _CHUNK_STEP = 1_760, 1_280
"""Samples from which 8 frames are made, and how far the next are."""
_FULL_SCALE = 32_767


def load(
    file: Path,
    *,
    layer: str,
    device: str,
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """The encoder, which runs on the CPU whatever the device.

    It maps float32 `(n_windows, 32480)` to `(n_windows, 16, 96)`; samples beyond full scale (-1 to
    1) are clipped, as int16 does. `melspectrogram.tflite` lies beside `file`.

    Raises:
        ProgramError: a file is damaged, or LiteRT is not installed.
    """
    del layer, device
    program = GuardedProgram([ModelFile(file.parent / _MEL_FILE), ModelFile(file)])

    def embeddings(window: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        samples = _FULL_SCALE * np.clip(window, -1, 1)
        starts = range(0, len(samples) - _CHUNK + 1, _CHUNK_STEP)
        parts = [program.run(0, samples[None, start : start + _CHUNK])[0, 0] for start in starts]
        levels = np.float32(0.1) * np.concatenate(parts) + np.float32(2)  # (n_frames, 32)
        frames = np.lib.stride_tricks.sliding_window_view(levels, _N_FRAMES, axis=0)
        inputs = frames[::_STEP].transpose(0, 2, 1)[..., None]  # (n, 76, 32, 1)
        return program.run(1, inputs)[:, 0, 0]

    def encode(windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.stack([embeddings(window) for window in windows])

    return encode
