"""The architecture plug-in interface: what a file in `lightning_models/architectures` provides.

`search.config.space` narrows an architecture's search space and joins it with the training space of
`lightning_models.train_config`.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from chorale.datasets import plugins
from chorale.datasets.base import Layout
from chorale.lightning_models.distributions import Distribution

if TYPE_CHECKING:
    import torch

InputShape = tuple[int, int, int]
"""(n_channels, n_bins, n_frames) of one network input: a spectrogram has one channel, a picture one
to four; a table has one frame, whose bins are its columns."""

Space = Mapping[str, Distribution]
"""A search space: config field -> the distribution of its values."""


@dataclass(frozen=True)
class Link:
    """A layer in a chain in which each layer's outputs are the next one's inputs; for pruning.

    `layer` is a convolution or a dense layer, `norm` the batch norm of its outputs. Its inputs are
    the outputs of the previous layer, repeated `repeats` times, as with two kinds of pooling.
    """

    layer: Any
    norm: Any = None
    repeats: int = 1


class Network(Protocol):
    """The result of `build`: an `nn.Module` that gives an embedding and logits in one pass.

    `head` is the last layer, and `forward(x)` equals `head(embed(x))`.

    It may have `lr_scales`, a mapping from prefixes of parameter names to factors of the learning
    rate; parameters that need no gradient are not trained. It may have `auxiliary`, prefixes of the
    parameters that only training needs (a decoder's) and `forward` does not use.

    One whose first layers expect features as they were computed has `undo_standardization(mean,
    std)`, which is given the statistics (n_channels, n_bins, 1) of the standardization once it is
    built, and keeps them in buffers.
    """

    head: "torch.nn.Module"

    def forward(self, x: "torch.Tensor") -> "torch.Tensor":
        """`x` (batch, n_channels, n_bins, n_frames) -> logits (batch, n_classes)."""
        ...

    def embed(self, x: "torch.Tensor") -> "torch.Tensor":
        """The input of the last layer: `x` as for `forward` -> (batch, width)."""
        ...


class Architecture(Protocol):
    """One architecture.

    `LAYOUTS` are the layouts of features that it accepts, the preferred one first. `SPACE` maps
    fields of the frozen `Config` to distributions. `DEFAULTS` are known-good points that are tried
    first: the best for little data, then published ones. Their keys are names of `SPACE`, or
    `train.<name>` for the training space; what they leave out has the config's default. A network
    with pretrained weights has a config field `weights`, where "none" builds it without them, as
    for loading a checkpoint.

    Optional: `HEAVY = True` for one that is slow to train on a CPU: a sweep searches it only if it
    names it. `COST`, the seconds of its training relative to `cnn` with the first default of each;
    by default 1: where time is short, cheap ones are measured first. `check(config)` for one whose
    config may name files: it raises UserError where they cannot be used, and is called before
    anything is trained.

    `chain(network)`, the list of its `Link`s from the first layer to the head, and
    `narrowed(config, share)`, the config with about that share of filters and units: with both,
    `lightning_models.training.structured_pruning` can prune it.

    `module_class()` for one with its own training: returns its LightningModule, a subclass of
    `lightning_models.training.module.GenreClassifier`, imported inside the function, so that
    planning trials does not import Lightning.
    """

    LAYOUTS: tuple[Layout, ...]
    Config: type[Any]
    SPACE: Space
    DEFAULTS: tuple[Mapping[str, Any], ...]

    def build(self, config: Any, input_shape: InputShape, n_classes: int) -> "torch.nn.Module":
        """A new `Network`.

        Args:
            config: this architecture's `Config`.
            input_shape: of a training crop. Inputs with more frames must work too.
            n_classes: the number of logits.

        Raises:
            UserError: the input is too small for this network.
        """
        ...


def architecture_names() -> tuple[str, ...]:
    """The names of all architectures, sorted."""
    return plugins.plugin_names(_package())


def load_architecture(name: str) -> Any:
    """The architecture's module, an `Architecture`: imports PyTorch.

    Where no network is built, `datasets.declarations` reads its declarations without PyTorch.

    Raises:
        UserError: there is none of that name; the error suggests the nearest.
    """
    return plugins.load_plugin(_package(), name, kind="architecture")


def _package() -> ModuleType:
    # imported by name: architectures are a layer above, as one may have its own training
    return importlib.import_module("chorale.lightning_models.architectures")
