"""What a file in `lightning_models/architectures` offers, and how its search space is written.

An architecture's space says what may be searched; `search.config.space` narrows it and joins it
with the training space of `lightning_models.training.module`.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from chorale.datasets import plugins
from chorale.lightning_models.distributions import Distribution

if TYPE_CHECKING:
    import torch

InputShape = tuple[int, int, int]
"""(n_channels, n_bins, n_frames) of what a network is given, but for the batch: a spectrogram has
one channel, a picture one to four; a table has one frame, whose bins are its columns."""

Space = Mapping[str, Distribution]
"""A name of a field of a config -> the distribution of its values."""


@dataclass(frozen=True)
class Link:
    """A layer with weights in a chain of such: what it says is what the next one hears.

    `layer` is a convolution or a dense layer, `norm` the batch norm of its outputs. Its inputs are
    the outputs of the layer before, `repeats` times over, as where frames are pooled in two ways.
    """

    layer: Any
    norm: Any = None
    repeats: int = 1


class Network(Protocol):
    """What `build` returns: an `nn.Module` with two views of the same forward pass.

    `head` is the last layer, and `forward(x)` equals `head(embed(x))`: one pass gives both.

    It may offer `lr_scales`, a mapping from prefixes of parameter names to factors of the learning
    rate; parameters that need no gradient are not trained. It may offer `auxiliary`, prefixes of
    the parameters that only training needs (a decoder's) and `forward` does not touch.
    """

    head: "torch.nn.Module"

    def forward(self, x: "torch.Tensor") -> "torch.Tensor":
        """`x` (batch, n_channels, n_bins, n_frames) -> logits (batch, n_classes)."""
        ...

    def embed(self, x: "torch.Tensor") -> "torch.Tensor":
        """The vector before the last layer: `x` as for `forward` -> (batch, width)."""
        ...


class Architecture(Protocol):
    """One architecture.

    `FEATURES` names the feature sets that it can eat, one at a time. `SPACE` maps fields of the
    frozen `Config` to distributions. `DEFAULTS` are known-good points that are tried first: the
    best for little data, then published ones. Their keys are names of `SPACE`, or `train.<name>`
    for the training space; what they leave out takes the default of the config. A network that can
    start from pretrained weights has them named by the field `weights`; "none" builds the same one
    without them, as checkpoints are loaded.

    One that a processor trains too slowly says `HEAVY = True`: a sweep searches it only where it
    names it. One whose config may name files has a function `check(config)` that raises UserError
    where they cannot be used; it is asked before anything is trained.

    One whose layers form a chain may offer `chain(network)`, the list of its `Link`s from the first
    one to the head, and `narrowed(config, share)`, the config with about that share of filters and
    units: then `lightning_models.training.structured_pruning` can prune it.

    An architecture with a training of its own also has a function `module_class()` that gives its
    LightningModule, a subclass of `lightning_models.training.module.GenreClassifier`. It imports it
    when it is called: who only plans trials does not wait for Lightning.
    """

    FEATURES: tuple[str, ...]
    Config: type[Any]
    SPACE: Space
    DEFAULTS: tuple[Mapping[str, Any], ...]

    def build(self, config: Any, input_shape: InputShape, n_classes: int) -> "torch.nn.Module":
        """A freshly initialised `Network`.

        Args:
            config: this architecture's `Config`.
            input_shape: of a training crop. Inputs with more frames must work too.
            n_classes: how many logits.

        Raises:
            UserError: the input is too small for this network.
        """
        ...


def architecture_names() -> tuple[str, ...]:
    """The names of all architectures, sorted."""
    return plugins.names(_package())


def load_architecture(name: str) -> Any:
    """The architecture's module, an `Architecture`: imports PyTorch.

    Whoever builds no network takes its `declarations`.

    Raises:
        UserError: there is none of that name; the nearest is offered.
    """
    return plugins.load(_package(), name, kind="architecture")


def _package() -> ModuleType:
    # Looked up by name: an architecture may bring its own training, so they are above `training`.
    return importlib.import_module("chorale.lightning_models.architectures")
