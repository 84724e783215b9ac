"""ResNet-18 on a spectrogram as a picture, from scratch or from pretrained weights: report D's.

`weights` is never searched by itself, because it needs a file: what a trial may start from is the
operator's choice.

Source: report D, "DLS final project": ResNet-18 by transfer learning. He, Zhang, Ren and Sun 2016,
arXiv:1512.03385. Howard and Ruder 2018, arXiv:1801.06146 (lower rates for earlier layers).
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from chorale.datasets.config import config
from chorale.lightning_models.base import InputShape, Space
from chorale.lightning_models.distributions import FloatDistribution, IntDistribution
from chorale.lightning_models.layers import Classifier
from chorale.lightning_models.pretrained import NO_WEIGHTS, load_into, tensors

FEATURES = ("mel", "spectrogram_image", "stft", "mfcc")
HEAVY = True

IMAGENET = "resnet18-f37072fd.pth"
"""The file of torchvision's ImageNet weights, as torch's cache names it."""

FETCH = "python -c \"import torchvision; torchvision.models.resnet18(weights='IMAGENET1K_V1')\""
"""What brings that file into the cache, on a machine with internet access."""

STAGES = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))
"""Parts of torchvision's network that are frozen together, in the order of the signal."""


@config
class Config:
    """The shape of the network, and what it starts from."""

    weights: Annotated[str, Field(min_length=1)] = NO_WEIGHTS
    """none for random weights; imagenet for those in torch's cache; or a file: .safetensors, or
    .pth with a state dict that has torchvision's names."""
    frozen: Annotated[int, Field(ge=0, le=4)] = 0
    """How many of the five stages (the stem is the first) keep their pretrained weights; without
    `weights` none does."""
    lr_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each stage has the learning rate of the next one times this; without `weights` the same."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of values that training drops before the last layer."""


SPACE: Space = {
    "frozen": IntDistribution(0, 4),
    "lr_decay": FloatDistribution(0.3, 1.0),
    "dropout": FloatDistribution(0.0, 0.5),
}

DEFAULTS = (
    {  # for little data: what is general is kept, crops and labels are blended
        "frozen": 1,
        "lr_decay": 0.6,
        "dropout": 0.2,
        "train.optimizer": "adamw",
        "train.lr": 1e-3,
        "train.weight_decay": 1e-2,
        "train.schedule": "one_cycle",
        "train.batch_size": 32,
        "train.mixup_alpha": 0.3,
        "train.label_smoothing": 0.1,
        "train.n_masks": 1,
        "train.bin_mask": 0.15,
        "train.frame_mask": 0.15,
        "train.center": False,
    },
    {  # the layers as published; how they were trained was not
        "frozen": 0,
        "lr_decay": 1.0,
        "dropout": 0.0,
        "train.optimizer": "adam",
        "train.lr": 1e-3,
        "train.weight_decay": 1e-5,
        "train.schedule": "constant",
        "train.batch_size": 32,
        "train.mixup_alpha": 0.0,
        "train.label_smoothing": 0.0,
        "train.n_masks": 0,
        "train.center": False,
    },
)


class Resnet18(Classifier):
    """Torchvision's network with a first convolution for the channels at hand and a head of ours.

    `lr_scales` maps prefixes of parameter names to factors of the learning rate.
    """

    def __init__(self, config: Config, n_channels: int, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        # only this network needs it, and it fits but one version of PyTorch
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
            self._start_from(config)

    def _start_from(self, config: Config) -> None:
        given = tensors(config.weights, {"imagenet": (IMAGENET, FETCH)})
        given = {name: value for name, value in given.items() if not name.startswith("fc.")}
        load_into(self.body, given, first="conv1.weight", said=config.weights)
        for i, stage in enumerate(STAGES):
            for part in stage:
                if i < config.frozen:
                    self.frozen.append(getattr(self.body, part).requires_grad_(False))
                else:
                    self.lr_scales[f"body.{part}."] = config.lr_decay ** (len(STAGES) - i)

    def train(self, mode: bool = True) -> "Resnet18":
        """As usual; but what is frozen goes on normalising by the statistics that it came with."""
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> what is before the last layer (batch, 512)."""
        embedding: Tensor = self.dropout(self.body(x))
        return embedding


def check(config: Config) -> None:
    """Looks whether `config.weights` can be had.

    Raises:
        UserError: they cannot.
    """
    if config.weights != NO_WEIGHTS:
        tensors(config.weights, {"imagenet": (IMAGENET, FETCH)})


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised, or pretrained, `Resnet18` (see `lightning_models.base.Architecture`).

    Its strides round up, so that no input is too small for it.

    Raises:
        UserError: `config.weights` cannot be had, or are of another network.
    """
    return Resnet18(config, input_shape[0], n_classes)
