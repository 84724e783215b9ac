"""Private names of torchaudio, all in this file: how a pipeline's network is built."""

from functools import partial
from typing import Any

from chorale.datasets.private_names import private_attribute

_private = partial(private_attribute, distribution="torchaudio", tested="2.11")


def architecture_of(bundle: Any) -> str:
    """The kind of network of a pipeline: "Wav2Vec2" or "WavLM"."""
    return str(_private(bundle, "_model_type"))


def parameters_of(bundle: Any) -> dict[str, Any]:
    """The arguments from which its network is built."""
    return dict(_private(bundle, "_params"))


def file_name_of(bundle: Any) -> str:
    """The name of the file of its weights."""
    return str(_private(bundle, "_path")).rsplit("/", 1)[-1]


def is_normalized(bundle: Any) -> bool:
    """Whether its network expects waveforms of mean 0 and variance 1."""
    return bool(_private(bundle, "_normalize_waveform"))
