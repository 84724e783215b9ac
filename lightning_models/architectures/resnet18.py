"""ResNet-18 on a spectrogram as a picture, from scratch or pretrained, after report D.

`weights` is not in the search space, because it needs a file that the user chooses.

Source: report D, "DLS final project": ResNet-18 by transfer learning. He, Zhang, Ren and Sun 2016,
arXiv:1512.03385. Howard and Ruder 2018, arXiv:1801.06146 (lower learning rates for earlier layers).
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from chorale.datasets.base import Layout
from chorale.datasets.config import config
from chorale.lightning_models import presets
from chorale.lightning_models.base import InputShape, Space
from chorale.lightning_models.distributions import FloatDistribution, IntDistribution
from chorale.lightning_models.layers import EmbeddingNetwork
from chorale.lightning_models.pretrained import (
    NO_WEIGHTS,
    load_pretrained_tensors,
    load_pretrained_weights,
)

LAYOUTS: tuple[Layout, ...] = ("spectrogram", "picture")
HEAVY = True
COST = 5.0

IMAGENET_FILE = "resnet18-f37072fd.pth"
"""The file of torchvision's ImageNet weights, as torch's cache names it."""

FETCH_COMMAND = (
    "python -c \"import torchvision; torchvision.models.resnet18(weights='IMAGENET1K_V1')\""
)
"""The command that downloads that file into the cache, with internet access."""

FREEZING_STAGES = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))
"""Parts of torchvision's network that are frozen together, from input to output."""


@config
class Config:
    """The shape of the network, and its initial weights."""

    weights: Annotated[str, Field(min_length=1)] = NO_WEIGHTS
    """none for random weights; imagenet for those in torch's cache; or a file: .safetensors, or
    .pth with a state dict that has torchvision's names."""
    frozen: Annotated[int, Field(ge=0, le=4)] = 0
    """How many of the five stages (the stem is the first) are frozen; 0 without `weights`."""
    lr_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each stage's learning rate as a multiple of the next one's; unused without `weights`."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout probability before the last layer."""


SPACE: Space = {
    "frozen": IntDistribution(0, 4),
    "lr_decay": FloatDistribution(0.3, 1.0),
    "dropout": FloatDistribution(0.0, 0.5),
}

DEFAULTS = (
    {  # for little data: frozen stem, lower rates for early stages, mixup
        "frozen": 1,
        "lr_decay": 0.6,
        "dropout": 0.2,
        **presets.LITTLE_DATA,
        "train.weight_decay": 1e-2,
        "train.n_masks": 1,
        "train.bin_mask": 0.15,
        "train.frame_mask": 0.15,
        "train.center": False,
    },
    {  # the layers as published; their training was not published
        "frozen": 0,
        "lr_decay": 1.0,
        "dropout": 0.0,
        **presets.PLAIN_ADAM,
    },
)


class Resnet18(EmbeddingNetwork):
    """Torchvision's network with a first convolution for the input's channels and a new head.

    `lr_scales` maps prefixes of parameter names to factors of the learning rate.
    """

    def __init__(self, config: Config, n_channels: int, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        # optional: only this network needs it, and each version needs one version of PyTorch
        import torchvision

        self.body = torchvision.models.resnet18(weights=None)
        width = self.body.fc.in_features
        self.body.fc = nn.Identity()
        if n_channels != self.body.conv1.in_channels:
            self.body.conv1 = nn.Conv2d(n_channels, 64, 7, stride=2, padding=3, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(width, n_classes)
        self.lr_scales: dict[str, float] = {}
        self.frozen: list[nn.Module] = []
        if config.weights != NO_WEIGHTS:
            self._load_pretrained(config)

    def _load_pretrained(self, config: Config) -> None:
        given = load_pretrained_tensors(
            config.weights, {"imagenet": (IMAGENET_FILE, FETCH_COMMAND)}
        )
        given = {name: value for name, value in given.items() if not name.startswith("fc.")}
        load_pretrained_weights(self.body, given, first="conv1.weight", source=config.weights)
        for i, stage in enumerate(FREEZING_STAGES):
            for part in stage:
                if i < config.frozen:
                    self.frozen.append(getattr(self.body, part).requires_grad_(False))
                else:
                    self.lr_scales[f"body.{part}."] = config.lr_decay ** (len(FREEZING_STAGES) - i)

    def train(self, mode: bool = True) -> "Resnet18":
        """Sets the mode; batch norms of frozen stages keep their pretrained statistics."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> input of the last layer (batch, 512)."""
        embedding: Tensor = self.dropout(self.body(x))
        return embedding


def check(config: Config) -> None:
    """Checks that `config.weights` can be loaded.

    Raises:
        UserError: they cannot.
    """
    if config.weights != NO_WEIGHTS:
        load_pretrained_tensors(config.weights, {"imagenet": (IMAGENET_FILE, FETCH_COMMAND)})


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A new or pretrained `Resnet18` (see `lightning_models.base.Architecture`).

    Its strides round up, so that it accepts inputs of any size.

    Raises:
        UserError: `config.weights` cannot be loaded, or are of another network.
    """
    return Resnet18(config, input_shape[0], n_classes)
