"""Autoencoder training: reconstruction as pretraining, or as an auxiliary loss.

Architectures with a decoder provide it as their LightningModule (`module_class`).
"""

import torch.nn.functional as F
from torch import Tensor

from chorale.lightning_models.training.module import Blend, GenreClassifier


class ReconstructionClassifier(GenreClassifier):
    """A GenreClassifier whose network has an `encoder`, `reconstruct(x)` and `both(x)`.

    Its config has `mode` ("first" or "jointly"), `pretrain` (the share of the epochs that train
    only the reconstruction), `freeze` (whether the encoder is frozen afterwards) and `weight` (of
    the reconstruction in the joint loss).

    Source: Bengio et al. 2007, "Greedy Layer-Wise Training of Deep Networks" (reconstruction
    first); Le, Patterson and White 2018, "Supervised autoencoders" (jointly).
    """

    @property
    def n_pretrained(self) -> int:
        """The number of epochs with the reconstruction loss alone; at least one epoch is left."""
        if self.config.mode != "first":
            return 0
        n_epochs = self.train_config.max_epochs
        share: float = self.config.pretrain
        return min(max(1, round(share * n_epochs)), n_epochs - 1)

    @property
    def first_scored_epoch(self) -> int:
        """The epoch after the pretraining."""
        return self.n_pretrained + 1

    def on_train_epoch_start(self) -> None:
        """Freezes the encoder after the pretraining, if the config asks for it."""
        super().on_train_epoch_start()
        frozen = self.config.freeze and 0 < self.n_pretrained <= self.current_epoch
        self.network.encoder.requires_grad_(not frozen)

    def loss(self, x: Tensor, labels: Tensor, blend: Blend | None) -> Tensor:
        """The reconstruction's mean squared error, the classification loss, or both."""
        if self.current_epoch < self.n_pretrained:
            with self.autocast():
                decoded = self.network.reconstruct(x)
            return F.mse_loss(decoded.float(), x)
        if self.config.mode != "jointly":
            return super().loss(x, labels, blend)
        with self.autocast():
            logits, decoded = self.network.both(x)
        error = F.mse_loss(decoded.float(), x)
        weight: float = self.config.weight
        return self.classification_loss(logits.float(), labels, blend) + weight * error
