"""The key `limit` of a sweep file: hard limits on the cost of the model that a sweep results in."""

from typing import Annotated

from pydantic import Field

from chorale.datasets.config import config


@config
class LimitConfig:
    """Hard limits: networks that exceed them are not trained, and ensembles keep to them."""

    latency_ms: Annotated[float, Field(gt=0)] | None = None
    """CPU time of predicting 30 s of audio on one thread by the exported model, including features
    and excluding decoding; of a table, of predicting one row"""
    size_mb: Annotated[float, Field(gt=0)] | None = None
    """megabytes of the exported model"""

    @property
    def is_set(self) -> bool:
        """Whether anything is limited."""
        return self.latency_ms is not None or self.size_mb is not None
