"""A network between standardisation and its logits: all that is needed to predict.

`module.GenreClassifier` trains one; here, nothing of Lightning is imported, which takes seconds.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from chorale.lightning_models import dropout
from chorale.lightning_models.base import InputShape, load_architecture
from chorale.lightning_models.patches import convolutions
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import speed

_AS_IT_IS: AbstractContextManager[object] = nullcontext()
"""The precision that tensors have anyway."""


class Classifier(nn.Module):
    """An architecture's network between standardisation and logits.

    It takes features as they are, of shape (batch, n_channels, n_bins, n_frames): mean and
    deviation of the training rows are buffers, so that they are saved and loaded with its weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        architecture: str,
        config: Any,
        train_config: TrainConfig,
        input_shape: InputShape,
        n_classes: int,
        statistics: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Builds the network; the caller has seeded torch.

        Args:
            architecture: a file name in `lightning_models.architectures`.
            config: that architecture's `Config`.
            train_config: how it will be, or was, trained.
            input_shape: (n_channels, n_bins, n_frames) of a training crop.
            n_classes: how many logits.
            statistics: mean and deviation (n_channels * n_bins,) of the training rows; none when
                they are about to be loaded.

        Raises:
            UserError: no such architecture, or the input is too small for it.
        """
        super().__init__()
        self.architecture = architecture
        self.config = config
        self.train_config = train_config
        self.input_shape = input_shape
        self.n_classes = n_classes
        n_channels, n_bins, _ = input_shape
        size = n_channels * n_bins
        mean, std = statistics or (torch.zeros(size), torch.ones(size))
        self.register_buffer("mean", mean.view(n_channels, n_bins, 1).clone())
        self.register_buffer("std", std.view(n_channels, n_bins, 1).clone())
        plugin = load_architecture(architecture)
        network = plugin.build(config, input_shape, n_classes)
        # convolutions are twice as fast with channels last; nothing else has four dimensions
        self.network = network.to(memory_format=torch.channels_last)
        convolutions.mend(self.network)
        dropout.mend(self.network)
        heavy = (nn.modules.conv._ConvNd, nn.RNNBase)
        self._is_heavy = any(isinstance(part, heavy) for part in network.modules())
        # a plain function: a compiled module would be a second owner of the weights
        self._compiled: Callable[[Tensor], Tensor] | None = None

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.mean.device

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, n_channels, n_bins, n_frames) -> logits (batch, n_classes), float32."""
        return self.judge(x)[0]

    def judge(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (batch, n_channels, n_bins, n_frames) -> logits and embedding.

        Both, (batch, n_classes) and (batch, width), are float32 and come from one pass.
        """
        with self.autocast():
            embedding = self.network.embed((x - self.mean) / self.std)
            logits = self.network.head(embedding)
        return logits.float(), embedding.float()

    def autocast(self) -> AbstractContextManager[object]:
        """The precision that is fastest here (see `speed.precision`)."""
        kind = self.device.type
        # on a processor, dense layers alone take longer to be converted than to be multiplied
        able = self._is_heavy or kind != "cpu"
        if able and speed.precision(kind) == torch.bfloat16:
            return torch.autocast(kind, dtype=torch.bfloat16)
        return _AS_IT_IS
