"""The training config, its search space, and the conditions between its parameters.

`training` and `data` apply it; `search.config.space` joins its space with an architecture's.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from chorale.datasets.base import Layout
from chorale.datasets.config import config
from chorale.lightning_models.base import Space
from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Optimizer = Literal["adam", "adamw", "sgd", "rmsprop"]
LrSchedule = Literal["constant", "cosine", "one_cycle", "plateau"]
Balance = Literal["none", "class_weights", "sampling"]


@config
class TrainConfig:
    """Training hyperparameters, for every architecture."""

    optimizer: Optimizer = "adamw"
    """sgd has Nesterov momentum; adam's weight decay is an L2 penalty."""
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of adam, adamw and rmsprop."""
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Decay rate of adam's and adamw's second moments."""
    rms_decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """Decay rate of rmsprop's squared gradients."""
    sgd_lr: Annotated[float, Field(gt=0, le=10)] = 0.03
    """Learning rate of sgd."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of sgd; 0 for none."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-3
    """Weight decay; biases and norms have none."""
    schedule: LrSchedule = "one_cycle"
    """Learning rate schedule; plateau lowers it when the validation loss stops improving."""
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """The share of all steps in which the learning rate rises; one_cycle has its own."""
    clip_norm: Annotated[float, Field(gt=0)] | None = 5.0
    """Gradients are clipped to this norm; null for no clipping."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the EMA of the weights, which is evaluated and kept; 0 for no EMA."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Label smoothing: the share of a label that is spread over all classes."""
    balance: Balance = "none"
    """Compensation of class imbalance: class weights in the loss, or class-balanced sampling."""
    synthetic: bool = False
    """Whether sampling adds synthetic rows to the rare classes of a table (SMOTE)."""
    mixup_alpha: Annotated[float, Field(ge=0, le=4)] = 0.0
    """Alpha of mixup; 0 for no mixup."""
    n_masks: Annotated[int, Field(ge=0, le=4)] = 0
    """Number of frequency masks and of time masks of SpecAugment; 0 for none."""
    bin_mask: Annotated[float, Field(ge=0, le=1)] = 0.15
    """The largest share of the bins that one mask covers."""
    frame_mask: Annotated[float, Field(ge=0, le=1)] = 0.15
    """The largest share of the frames that one mask covers."""
    noise: bool = False
    """Whether half of all crops get white noise; for mfcc it is some dB quieter than set."""
    noise_snr_db: Annotated[float, Field(ge=-10, le=80)] = 20.0
    """The lowest signal-to-noise ratio in dB; each noisy crop has one up to 20 dB higher."""
    gain_db: Annotated[float, Field(ge=0, le=40)] = 0.0
    """Each crop's gain is at most this many dB, up or down; 0 for none."""
    pitch: Annotated[float, Field(ge=0, le=12)] = 0.0
    """Each crop's pitch is shifted by at most this many semitones, up or down; 0 for none."""
    stretch: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Each crop is time-stretched by at most this share, slower or faster; 0 for none."""
    random_crop: bool = True
    """Whether training crops start anywhere in a track, or only at its evaluation windows."""
    batch_size: Annotated[int, Field(ge=2, le=4096)] = 32
    """Crops per step."""
    max_epochs: Annotated[int, Field(ge=1)] = 30
    """Passes over the training tracks; a sweep sets it, from budget.max_epochs."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without improvement before early stopping; null for none."""
    compile: bool = False
    """Whether steps run with torch.compile: for long trainings on a GPU, where the half minute of
    compilation pays off; it is not in the search space."""
    center: bool = False
    """Whether each track's mean of each bin, its loudness and timbre, is subtracted first."""
    crop_s: Annotated[float, Field(gt=0)] = 3.0
    """Seconds of a training crop, and of an evaluation window."""
    crops_per_track: Annotated[int, Field(ge=1)] = 1
    """Crops per track and epoch; of a table, how often each row is taken."""
    n_windows: Annotated[int, Field(ge=1)] = 8
    """The maximum number of evaluation windows per track."""
    views: bool = False
    """Whether each crop is of a random view of its training track (`features.encoder.views`), or
    always of the recording as it is."""


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
"""The training search space; balancing and augmentation have "off" as first choice or lower end."""

EMBEDDING_SPACE: Space = {"crop_s": CategoricalDistribution((30.0, 10.0, 3.0))}
"""Searched besides `TRAIN_SPACE` where features are embeddings: over how many seconds they are
pooled. A frame of an encoder covers seconds, so long crops cost nothing."""

VIEWS_SPACE: Space = {"views": CategoricalDistribution((False, True))}
"""Searched besides `TRAIN_SPACE` for features with several views of each training track."""

REQUIRED_PARAMETER: Mapping[str, tuple[str, tuple[Any, ...]]] = {
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
"""A conditional parameter of `TRAIN_SPACE` -> the parameter and its values on which it depends."""

_TABLE: tuple[Layout, ...] = ("table",)
_SPECTROGRAM: tuple[Layout, ...] = ("spectrogram",)
_CENTRED: tuple[Layout, ...] = ("spectrogram", "picture", "embedding")
_FRAMES: tuple[Layout, ...] = (*_CENTRED, "block_input")

REQUIRED_LAYOUTS: Mapping[str, tuple[Layout, ...]] = {
    "synthetic": _TABLE,
    "crop_s": ("embedding",),
    "n_masks": _FRAMES,
    "bin_mask": _FRAMES,
    "frame_mask": _FRAMES,
    "noise": _SPECTROGRAM,
    "noise_snr_db": _SPECTROGRAM,
    "gain_db": _SPECTROGRAM,
    "pitch": _SPECTROGRAM,
    "stretch": _FRAMES,
    "random_crop": _FRAMES,
    "center": _CENTRED,  # an encoder's blocks expect frames as they are
}
"""A parameter of `TRAIN_SPACE` -> the layouts for which it exists; without entry, all."""
