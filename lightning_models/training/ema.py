"""A running average of a network's weights, which is judged and kept in their place.

`GenreClassifier` updates it after every step; `watch` looks through it at the end of an epoch.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The exponential moving average of all that a network learns.

    The n-th weights enter with (1 - decay) / (1 - decay^n): nothing is owed to the weights that
    training began with, as in Adam's bias correction, so that the average of one step is that
    step's weights. Running statistics of batch norm are averaged likewise, because they have to
    fit the averaged weights; counters are taken as they are.

    Source: Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging";
    Morales-Brotons et al. 2024, arXiv:2411.18704 (exponential, with batch norm).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Starts with nothing seen.

        Args:
            network: watched; it keeps its own weights but within `shown`.
            decay: how much of the average stays at each step, below 1.
        """
        self.decay = decay
        self.n_seen = 0
        every = network.state_dict(keep_vars=True)
        self._live = {name: value for name, value in every.items() if value.is_floating_point()}
        self._means = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes the network's present weights in."""
        self.n_seen += 1
        share = (1 - self.decay) / (1 - self.decay**self.n_seen)
        torch._foreach_lerp_(list(self._means.values()), list(self._live.values()), share)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within the block the network has the averaged weights, after it its own again."""
        own = {name: value.detach().clone() for name, value in self._live.items()}
        self._write(self._live, self._means)
        try:
            yield
        finally:
            self._write(self._live, own)

    def state(self) -> Mapping[str, Tensor]:
        """The averages by name, to be saved with `n_seen`."""
        return self._means

    def restore(self, means: Mapping[str, Tensor], n_seen: int) -> None:
        """Takes up what `state` gave."""
        self.n_seen = n_seen
        self._write(self._means, means)

    @staticmethod
    @torch.no_grad()
    def _write(into: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
        for name, value in into.items():
            value.copy_(values[name])
