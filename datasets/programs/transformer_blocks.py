"""The last transformer layers of wav2vec 2.0, HuBERT, WavLM and MERT as a module to be trained.

Dropout within them is that of their publishers, and acts in training. WavLM's layers share one
table of relative positions, which belongs to its first layer: it is kept as published.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.pipelines import pipeline_layers
from chorale.datasets.programs.waveform_transformer import frames_averaged, layer_number

_LAYERS = "encoder.transformer.layers."
_POSITIONS = "attention.rel_attn_embed.weight"


class TransformerBlocks(nn.Module):
    """Transformer layers, and the mean over 0.2 s."""

    def __init__(self, layers: nn.ModuleList, *, n_averaged: int) -> None:
        """`n_averaged` frames become one."""
        super().__init__()
        self.blocks = layers
        self.n_averaged = n_averaged
        for name, parameter in layers.named_parameters():
            if name.endswith(_POSITIONS):
                parameter.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_bins, n_frames) -> (batch, n_bins, n_frames / n_averaged, rounded up)."""
        x, positions = x.transpose(1, 2), None
        for layer in self.blocks:
            x, positions = layer(x, position_bias=positions)
        return F.avg_pool1d(x.transpose(1, 2), self.n_averaged, ceil_mode=True)


def last_blocks(
    weights: Mapping[str, Any] | None, *, bundle: str, layer: str, n_blocks: int, sample_rate: int
) -> nn.Module:
    """The last layers up to one, with the published weights where they are given.

    Args:
        weights: of the whole network by torchaudio's names; None for random ones.
        bundle: a name in `torchaudio.pipelines`.
        layer: the output of the encoder.
        n_blocks: how many layers.
        sample_rate: of the encoder, in Hz.

    Raises:
        ProgramError: the weights are of another network.
    """
    layers = pipeline_layers(bundle, n_blocks)
    made = TransformerBlocks(layers, n_averaged=frames_averaged(sample_rate))
    if weights is None:
        return made
    first = layer_number(layer) - n_blocks
    used = {}
    for name in layers.state_dict():
        number, _, rest = name.partition(".")
        of = 0 if rest == _POSITIONS else first + int(number)
        source = f"{_LAYERS}{of}.{rest}"
        if source not in weights:
            raise ProgramError(f"does not hold the weights of {bundle} (it has no '{source}')")
        used[name] = weights[source]
    try:
        layers.load_state_dict(used)
    except RuntimeError as error:
        what = str(error).strip().splitlines()[-1].strip()
        raise ProgramError(f"does not hold the weights of {bundle} ({what:.200})") from None
    return made
