"""Training presets: known-good training settings that `DEFAULTS` of several architectures share.

An architecture spreads one into a default and overrides what differs there. Keys are names of the
training space, as `DEFAULTS` writes them (see `lightning_models.train_config`).
"""

from collections.abc import Mapping
from typing import Any

LITTLE_DATA_TABLE: Mapping[str, Any] = {
    "train.optimizer": "adamw",
    "train.lr": 1e-3,
    "train.weight_decay": 1e-2,
    "train.schedule": "one_cycle",
    "train.batch_size": 32,
    "train.mixup_alpha": 0.2,
    "train.label_smoothing": 0.1,
}
"""Tables with few rows: AdamW with a one-cycle schedule, mixup and label smoothing."""

LITTLE_DATA: Mapping[str, Any] = {
    **LITTLE_DATA_TABLE,
    "train.weight_decay": 1e-3,
    "train.mixup_alpha": 0.3,
    "train.n_masks": 0,
    "train.center": True,
}
"""Frames of few tracks: as for tables, with each crop centred and without SpecAugment."""

PLAIN_ADAM_TABLE: Mapping[str, Any] = {
    "train.optimizer": "adam",
    "train.lr": 1e-3,
    "train.weight_decay": 1e-5,
    "train.schedule": "constant",
    "train.batch_size": 32,
    "train.mixup_alpha": 0.0,
    "train.label_smoothing": 0.0,
}
"""Adam at a constant rate without augmentation, as most published networks were trained."""

PLAIN_ADAM: Mapping[str, Any] = {**PLAIN_ADAM_TABLE, "train.n_masks": 0, "train.center": False}
"""The same for frames."""
