"""How a network is trained: the config, the space that is searched, and what depends on what.

`module` and `batches` obey it; `search.config.space` joins its space with an architecture's own.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from chorale.datasets.config import config
from chorale.lightning_models.base import Space
from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Optimizer = Literal["adam", "adamw", "sgd", "rmsprop"]
Schedule = Literal["constant", "cosine", "one_cycle", "plateau"]
Balance = Literal["none", "class_weights", "sampling"]


@config
class TrainConfig:
    """How a network is trained, whatever the network."""

    optimizer: Optimizer = "adamw"
    """The rule of the steps: sgd has Nesterov's momentum; adam's weight decay is plain L2."""
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of adam, adamw and rmsprop."""
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """How long adam and adamw remember squared gradients."""
    rms_decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """How long rmsprop remembers squared gradients."""
    sgd_lr: Annotated[float, Field(gt=0, le=10)] = 0.03
    """Learning rate of sgd."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of sgd; 0 for none."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-3
    """Pull of the weights to zero; biases and norms are left alone."""
    schedule: Schedule = "one_cycle"
    """The course of the learning rate; plateau lowers it when the validation loss stands still."""
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """The share of all steps in which the learning rate rises; one_cycle has its own."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 5.0
    """Longer gradients are shortened to this norm; null for as they are."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Judged and kept is a running average of the weights that decays so; 0 for the last ones."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of a label that is spread over all classes."""
    balance: Balance = "none"
    """What makes up for rare classes: their weight in the loss, or drawing all equally often."""
    synthetic: bool = False
    """Whether sampling fills up a rare class of a table with new rows between old ones (SMOTE)."""
    mixup_alpha: Annotated[float, Field(ge=0, le=4)] = 0.0
    """How evenly mixup blends two crops; 0 for no mixup."""
    n_masks: Annotated[int, Field(ge=0, le=4)] = 0
    """How many bands of bins and stretches of frames SpecAugment hides; 0 for none."""
    bin_mask: Annotated[float, Field(ge=0, le=1)] = 0.15
    """The greatest share of the bins that one band hides."""
    frame_mask: Annotated[float, Field(ge=0, le=1)] = 0.15
    """The greatest share of the frames that one stretch hides."""
    noise: bool = False
    """Whether half of all crops get white noise; that of mfcc is some dB softer than it says."""
    noise_snr_db: Annotated[float, Field(ge=-10, le=80)] = 20.0
    """The lowest ratio of signal to noise in dB; each noisy crop has one up to 20 dB higher."""
    gain_db: Annotated[float, Field(ge=0, le=40)] = 0.0
    """Each crop is made louder or softer by at most so much; 0 for as it is."""
    pitch: Annotated[float, Field(ge=0, le=12)] = 0.0
    """Each crop is shifted by at most so many semitones, up or down; 0 for as it is."""
    stretch: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Each crop is made slower or faster by at most this share; 0 for as it is."""
    random_crop: bool = True
    """Whether training crops lie anywhere in a track, or where it is judged."""
    batch_size: Annotated[int, Field(ge=2, le=4096)] = 32
    """Crops a step."""
    max_epochs: Annotated[int, Field(ge=1)] = 30
    """Passes over the training tracks."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a better one after which a training ends early; null for never."""
    compile: bool = False
    """Whether steps run compiled by torch.compile: for long trainings on a GPU, where the half
    minute that it takes is won back; nothing searches it."""
    center: bool = False
    """Whether each track's own mean of each bin, its loudness and colour, is taken off first."""
    crop_s: Annotated[float, Field(gt=0)] = 3.0
    """Seconds of a training crop, and of a window that is judged."""
    crops_per_track: Annotated[int, Field(ge=1)] = 1
    """Crops taken from each track in each epoch; of a table, each row is taken once."""
    n_windows: Annotated[int, Field(ge=1)] = 8
    """The most windows that a track is judged by."""


TRAIN_SPACE: Space = {
    "optimizer": CategoricalDistribution(("adam", "adamw", "sgd", "rmsprop")),
    "lr": FloatDistribution(1e-4, 3e-3, log=True),
    "beta2": CategoricalDistribution((0.95, 0.99, 0.999)),
    "rms_decay": CategoricalDistribution((0.9, 0.99)),
    "sgd_lr": FloatDistribution(1e-2, 1e-1, log=True),
    "momentum": FloatDistribution(0.8, 0.98),
    "weight_decay": FloatDistribution(1e-5, 5e-2, log=True),
    "schedule": CategoricalDistribution(("constant", "cosine", "one_cycle", "plateau")),
    "warm_up": CategoricalDistribution((0.0, 0.05, 0.1)),
    "clip_norm": CategoricalDistribution((None, 1.0, 5.0)),
    "ema_decay": CategoricalDistribution((0.0, 0.9, 0.99)),
    "label_smoothing": FloatDistribution(0.0, 0.2, step=0.05),
    "balance": CategoricalDistribution(("none", "class_weights", "sampling")),
    "synthetic": CategoricalDistribution((False, True)),
    "mixup_alpha": FloatDistribution(0.0, 0.5, step=0.1),
    "n_masks": IntDistribution(0, 2),
    "bin_mask": FloatDistribution(0.05, 0.35),
    "frame_mask": FloatDistribution(0.05, 0.25),
    "noise": CategoricalDistribution((False, True)),
    "noise_snr_db": FloatDistribution(10.0, 40.0),
    "gain_db": FloatDistribution(0.0, 6.0, step=2.0),
    "pitch": FloatDistribution(0.0, 2.0, step=0.5),
    "stretch": FloatDistribution(0.0, 0.2, step=0.05),
    "random_crop": CategoricalDistribution((True, False)),
    "batch_size": CategoricalDistribution((16, 32, 64, 128)),
    "center": CategoricalDistribution((False, True)),
}
"""What is searched. Every way to balance or augment has "off" as its first choice or lower end."""

ONLY_WITH: Mapping[str, tuple[str, tuple[Any, ...]]] = {
    "lr": ("optimizer", ("adam", "adamw", "rmsprop")),
    "beta2": ("optimizer", ("adam", "adamw")),
    "rms_decay": ("optimizer", ("rmsprop",)),
    "sgd_lr": ("optimizer", ("sgd",)),
    "momentum": ("optimizer", ("sgd",)),
    "warm_up": ("schedule", ("constant", "cosine", "plateau")),
    "synthetic": ("balance", ("sampling",)),
    "bin_mask": ("n_masks", (1, 2)),
    "frame_mask": ("n_masks", (1, 2)),
    "noise_snr_db": ("noise", (True,)),
}
"""A parameter of `TRAIN_SPACE` -> another one, and the values of it under which it exists."""

TABLES = ("stats57", "stats518", "table")
SPECTRA = ("mel", "mfcc", "stft")
PICTURES = ("spectrogram_image",)
FRAMES = (*SPECTRA, *PICTURES, "encoder")

ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    "synthetic": TABLES,
    "n_masks": FRAMES,
    "bin_mask": FRAMES,
    "frame_mask": FRAMES,
    "noise": SPECTRA,
    "noise_snr_db": SPECTRA,
    "gain_db": SPECTRA,
    "pitch": SPECTRA,
    "stretch": FRAMES,
    "random_crop": FRAMES,
    "center": FRAMES,
}
"""A parameter of `TRAIN_SPACE` -> the feature sets for which it exists; without entry, all."""
