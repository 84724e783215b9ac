"""EMA: an exponential moving average of a network's weights, evaluated and kept instead of them.

`GenreClassifier` updates it after every step; `callbacks.EpochEnd` validates with it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from chorale.lightning_models.patches import _torch


class Ema:
    """The bias-corrected exponential moving average of a network's weights and buffers.

    The n-th weights enter with (1 - decay) / (1 - decay^n), as in Adam's bias correction: the
    initial weights have no influence, and the average after one step is that step's weights.
    Running statistics of batch norm are averaged likewise, because they must match the averaged
    weights; counters are not averaged.

    Source: Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging";
    Morales-Brotons et al. 2024, arXiv:2411.18704 (exponential, with batch norm).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Starts without any update.

        Args:
            network: keeps its own weights except within `applied`.
            decay: the share of the average that remains at each step, below 1.
        """
        self.decay = decay
        self.n_updates = 0
        every = network.state_dict(keep_vars=True)
        self._live = {name: value for name, value in every.items() if value.is_floating_point()}
        self._means = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Updates the average with the network's current weights."""
        self.n_updates += 1
        share = (1 - self.decay) / (1 - self.decay**self.n_updates)
        _torch.lerp(list(self._means.values()), list(self._live.values()), share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the network has the averaged weights, afterwards its own."""
        own = {name: value.detach().clone() for name, value in self._live.items()}
        self._write(self._live, self._means)
        try:
            yield
        finally:
            self._write(self._live, own)

    def state(self) -> Mapping[str, Tensor]:
        """The averaged tensors by name, to be saved with `n_updates`."""
        return self._means

    def restore(self, means: Mapping[str, Tensor], n_updates: int) -> None:
        """Restores the result of `state`."""
        self.n_updates = n_updates
        self._write(self._means, means)

    @staticmethod
    @torch.no_grad()
    def _write(into: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
        for name, value in into.items():
            value.copy_(values[name])
