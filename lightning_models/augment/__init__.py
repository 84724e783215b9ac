"""Data augmentation of training crops; validation and inference never use it.

`levels` has augmentations of raw features, which `data.batches` applies; `standardised` those of
standardized crops, which `GenreClassifier` applies before its network.
"""

from chorale.lightning_models.augment.standardised import mixup, spec_augment

__all__ = ["mixup", "spec_augment"]
