"""Pretrained torchaudio pipelines (wav2vec 2.0, HuBERT, WavLM) with weights from a local file.

`datasets.features.encoder` runs them. Nothing is downloaded: torchaudio would do so during a sweep,
in every worker.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chorale.datasets.errors import unknown_name_error
from chorale.datasets.programs._torchaudio import (
    architecture_of,
    file_name_of,
    is_normalized,
    parameters_of,
)
from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.network_weights import read_weights
from chorale.datasets.programs.windows import Windows, on_windows


def check_pipeline(bundle: str, *, sample_rate: int, layer: int | None) -> None:
    """Checks that the pipeline exists, has the layer and uses the sample rate.

    Raises:
        ValueError: one of them is wrong; the text lists what is allowed.
    """
    found = _bundle(bundle)
    n_layers = int(parameters_of(found)["encoder_num_layers"])
    if layer is not None and layer > n_layers:
        raise ValueError(f"{bundle} has {n_layers} layers, but got {layer=}")
    if sample_rate != found.sample_rate:
        raise ValueError(f"{bundle} needs {found.sample_rate:.0f} Hz, but got {sample_rate=}")


def fetched_weights(bundle: str) -> Path:
    """The path of the weights in torchaudio's cache.

    Raises:
        ValueError: there is no such pipeline.
    """
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / file_name_of(_bundle(bundle))


def fetch_instructions(bundle: str) -> str:
    """What to do if the weights are not in the cache; comes before "with --key FILE"."""
    return (
        f"the weights of {bundle} have not been downloaded: on a machine with internet access, run "
        f"python -c 'import torchaudio; torchaudio.pipelines.{bundle}.get_model()', copy the file "
        f"that it downloads to this machine, and give it"
    )


def load_pipeline(bundle: str, file: Path, *, layer: int | None, device: str) -> Windows:
    """Loads the network on `device`, as a function on windows, of the outputs of one layer.

    Args:
        bundle: a name in `torchaudio.pipelines`.
        file: its weights: safetensors, or a PyTorch file of tensors.
        layer: which transformer layer, counted from 1; None for the last.
        device: "cpu" or "cuda".

    Raises:
        ProgramError: the file is damaged, or holds other weights.
    """
    import torch

    model = pipeline_network(bundle, read_weights(file), device=device)
    normalized = is_normalized(_bundle(bundle))

    def encode(waveforms: Any) -> Any:
        if normalized:
            waveforms = torch.nn.functional.layer_norm(waveforms, waveforms.shape)
        return model.extract_features(waveforms, num_layers=layer)[0][-1]

    return on_windows(encode, device)


def pipeline_network(bundle: str, weights: Mapping[str, Any], *, device: str) -> Any:
    """The network of a pipeline on `device`, without a head for speech recognition.

    Args:
        bundle: a name in `torchaudio.pipelines`.
        weights: its tensors by name; those of the head are not used.
        device: "cpu" or "cuda".

    Raises:
        ProgramError: the weights are of another network.
    """
    from torchaudio.models import wav2vec2_model, wavlm_model

    found = _bundle(bundle)
    make = wavlm_model if architecture_of(found) == "WavLM" else wav2vec2_model
    model = make(**{**parameters_of(found), "aux_num_out": None})
    used = {name: tensor for name, tensor in weights.items() if not name.startswith("aux.")}
    try:
        model.load_state_dict(used)
    except (RuntimeError, TypeError) as error:
        lines = str(error).strip().splitlines()
        what = lines[min(1, len(lines) - 1)].strip()
        raise ProgramError(f"does not hold the weights of {bundle} ({what:.200})") from None
    return model.eval().requires_grad_(requires_grad=False).to(device)


def pipeline_layers(bundle: str, n_layers: int) -> Any:
    """`n_layers` transformer layers of a pipeline's network with random weights, a ModuleList.

    The first of them computes the relative positions of WavLM, which the others are given.

    Args:
        bundle: a name in `torchaudio.pipelines`.
        n_layers: how many.
    """
    from torchaudio.models import wav2vec2_model, wavlm_model

    found = _bundle(bundle)
    make = wavlm_model if architecture_of(found) == "WavLM" else wav2vec2_model
    small = {"extractor_conv_layer_config": [(8, 10, 5)], "encoder_pos_conv_kernel": 1}
    sizes = {"encoder_num_layers": n_layers, "aux_num_out": None}
    model = make(**{**parameters_of(found), **small, **sizes})
    return model.encoder.transformer.layers


def _bundle(name: str) -> Any:
    from torchaudio import pipelines

    made, kind = getattr(pipelines, name, None), pipelines.Wav2Vec2Bundle
    if not isinstance(made, kind):
        known = [n for n in dir(pipelines) if isinstance(getattr(pipelines, n), kind)]
        raise ValueError(str(unknown_name_error("bundle", name, known)))
    return made
