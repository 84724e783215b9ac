"""Trains a network that also reconstructs what it sees: before its classes, or along with them.

Architectures with a decoder offer it as their LightningModule (`module_class`).
"""

import torch.nn.functional as F
from torch import Tensor

from chorale.lightning_models.training.module import Blend, GenreClassifier


class Reconstructing(GenreClassifier):
    """A GenreClassifier whose network has an `encoder`, `reconstruct(x)` and `both(x)`.

    Its config has `mode` ("first" or "jointly"), `pretrain` (the share of the epochs in which
    nothing but the reconstruction is learnt), `freeze` (whether the encoder stays as it is
    afterwards) and `weight` (of the reconstruction in the joint loss).

    Source: Bengio et al. 2007, "Greedy Layer-Wise Training of Deep Networks" (reconstruction
    first); Le, Patterson and White 2018, "Supervised autoencoders" (jointly).
    """

    @property
    def n_pretrained(self) -> int:
        """Epochs that learn the reconstruction alone; at least one is left for the classes."""
        if self.config.mode != "first":
            return 0
        n_epochs = self.train_config.max_epochs
        share: float = self.config.pretrain
        return min(max(1, round(share * n_epochs)), n_epochs - 1)

    @property
    def first_epoch_that_counts(self) -> int:
        """The one after the reconstruction."""
        return self.n_pretrained + 1

    def on_train_epoch_start(self) -> None:
        """Freezes the encoder, where it shall be, as soon as the reconstruction is learnt."""
        super().on_train_epoch_start()
        frozen = self.config.freeze and 0 < self.n_pretrained <= self.current_epoch
        self.network.encoder.requires_grad_(not frozen)

    def loss(self, x: Tensor, labels: Tensor, blend: Blend | None) -> Tensor:
        """The mean squared error of the reconstruction, that of the classes, or both."""
        if self.current_epoch < self.n_pretrained:
            with self.autocast():
                seen = self.network.reconstruct(x)
            return F.mse_loss(seen.float(), x)
        if self.config.mode != "jointly":
            return super().loss(x, labels, blend)
        with self.autocast():
            logits, seen = self.network.both(x)
        error = F.mse_loss(seen.float(), x)
        weight: float = self.config.weight
        return self.classification_loss(logits.float(), labels, blend) + weight * error
