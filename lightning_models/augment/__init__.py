"""Changes to training crops that leave their classes as they are; evaluation never sees them.

`levels` holds those made to raw features in place of the sound, which `batches` applies;
`standardised` those that `GenreClassifier` applies to what its network is about to see.
"""

from chorale.lightning_models.augment.standardised import mixup, spec_augment

__all__ = ["mixup", "spec_augment"]
