"""The inference module: input standardization and an architecture's network, without Lightning.

`module.GenreClassifier` extends it for training. Lightning, which takes seconds to import, is not
imported here.
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

_NO_AUTOCAST: AbstractContextManager[object] = nullcontext()
"""The tensors' own precision."""


class Classifier(nn.Module):
    """An architecture's network with input standardization.

    It takes raw features of shape (batch, n_channels, n_bins, n_frames): mean and standard
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
        multi_label: bool = False,
    ) -> None:
        """Builds the network; the caller has seeded torch.

        Args:
            architecture: a file name in `lightning_models.architectures`.
            config: that architecture's `Config`.
            train_config: how it will be, or was, trained.
            input_shape: (n_channels, n_bins, n_frames) of a training crop.
            n_classes: how many logits.
            statistics: mean and standard deviation (n_channels * n_bins,) of the training rows;
                None where they will be loaded with the weights.
            multi_label: whether a track may have several labels: each output is then the logit of
                one label, and not of one class among all.

        Raises:
            UserError: no such architecture, or the input is too small for it.
        """
        super().__init__()
        self.architecture = architecture
        self.config = config
        self.train_config = train_config
        self.input_shape = input_shape
        self.n_classes = n_classes
        self.multi_label = multi_label
        n_channels, n_bins, _ = input_shape
        size = n_channels * n_bins
        mean, std = statistics or (torch.zeros(size), torch.ones(size))
        self.register_buffer("mean", mean.view(n_channels, n_bins, 1).clone())
        self.register_buffer("std", std.view(n_channels, n_bins, 1).clone())
        plugin = load_architecture(architecture)
        network = plugin.build(config, input_shape, n_classes)
        if hasattr(network, "undo_standardization"):
            network.undo_standardization(self.mean, self.std)
        # convolutions are twice as fast with channels last; no other weights have four dimensions
        self.network = network.to(memory_format=torch.channels_last)
        convolutions.use_narrow_conv2d(self.network)
        dropout.use_quick_dropout(self.network)
        heavy = (nn.Conv1d, nn.Conv2d, nn.RNNBase)
        self._is_heavy = any(isinstance(part, heavy) for part in network.modules())
        # a function: a compiled module would register the weights twice
        self._compiled: Callable[[Tensor], Tensor] | None = None

    @property
    def device(self) -> torch.device:
        """The module's device."""
        return self.mean.device

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, n_channels, n_bins, n_frames) -> logits (batch, n_classes), float32."""
        return self.logits_and_embedding(x)[0]

    def logits_and_embedding(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (batch, n_channels, n_bins, n_frames) -> logits and embedding.

        Both, (batch, n_classes) and (batch, width), are float32 and come from one pass.
        """
        with self.autocast():
            embedding = self.network.embed((x - self.mean) / self.std)
            logits = self.network.head(embedding)
        return logits.float(), embedding.float()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits (batch, n_classes) -> probabilities: rows sum to 1, except where multi-label."""
        return logits.sigmoid() if self.multi_label else logits.softmax(dim=1)

    def autocast(self) -> AbstractContextManager[object]:
        """Automatic mixed precision where it is faster (see `speed.fastest_precision`)."""
        kind = self.device.type
        # on a CPU, converting the inputs of dense layers takes longer than multiplying them
        able = self._is_heavy or kind != "cpu"
        if able and speed.fastest_precision(kind) == torch.bfloat16:
            return torch.autocast(kind, dtype=torch.bfloat16)
        return _NO_AUTOCAST
