"""Checks an encoder on this machine: its file, the packages that it needs, and a run on noise.

`chorale encoder check` calls `check_encoder`.
"""

from dataclasses import dataclass, field

from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.installed import (
    encoder_info,
    encoders_folder,
    fetch_advice,
    is_fetched,
    load_encoder,
    weights_path,
)
from chorale.datasets.pretrained.integrity import checksum_problem, missing_packages
from chorale.datasets.pretrained.noise_run import NoiseRun, NoiseRunError, run_on_noise
from chorale.datasets.programs.exported_program import ProgramError

ANY_WINDOW_S = 10.0
"""Seconds of noise for an encoder that reads any length: as much as the feature set gives it."""


@dataclass(frozen=True)
class EncoderCheck:
    """The result of a check: a `problem` (one line), or one run on noise for each layer."""

    name: str
    problem: str = ""
    runs: dict[str, NoiseRun] = field(default_factory=dict)


def check_encoder(name: str) -> EncoderCheck:
    """Verifies the checksum of an encoder's file, and runs each of its layers on noise on the CPU.

    Raises:
        UserError: no encoder has that name.
    """
    info = encoder_info(name)
    if not is_fetched(name):
        return EncoderCheck(name, f"has not been fetched; {fetch_advice(name)}")
    if problem := checksum_problem(info, encoders_folder() / name):
        return EncoderCheck(name, f"{problem}; {fetch_advice(name)}")
    if missing := missing_packages(info):
        return EncoderCheck(name, f"needs more; type: pip install {' '.join(missing)}")
    runs = {}
    for layer, n_bins in info.layers.items():
        try:
            encoder = load_encoder(name, weights_path(name), layer=layer, device="cpu")
            runs[layer] = run_on_noise(
                encoder,
                sample_rate=info.sample_rate,
                window_s=info.window_s or ANY_WINDOW_S,
                n_bins=n_bins,
            )
        except (ProgramError, NoiseRunError, UserError, ImportError) as error:
            return EncoderCheck(name, f"layer '{layer}': {error}")
    return EncoderCheck(name, runs=runs)
