"""What a bundle knows of its own confidence, to compare served answers with.

`search.statistics.confidence` measures it; this file imports nothing that predictions do not need.
"""

from chorale.datasets.config import config


@config
class ConfidenceReference:
    """What is known of a bundle's confidence; the fields are shares or probabilities, 0 to 1."""

    n_tracks: int
    """Tracks on which it was measured."""
    n_groups: int
    """Their groups."""
    confidence: float
    """Mean confidence of served answers on tracks like these."""
    confidence_std: float
    """Its standard deviation over tracks."""
    confidence_margin: float
    """By how much the mean may be too high, as few groups were seen: a 95 % limit on one side."""
    overconfidence: float
    """Mean confidence minus accuracy, -1 to 1."""
    overconfidence_margin: float
    """Half the width of its 95 % interval."""
    flagged: float
    """Share of answers that is flagged as out of distribution."""
    confidence_correlation: float
    """Intraclass correlation of confidence within a group."""
    group_correlation: float
    """Intraclass correlation of confidence minus correctness within a group."""
    group_size: float
    """Tracks of a group, on average over tracks."""

    @property
    def accuracy(self) -> float:
        """The accuracy that is expected on such tracks."""
        return min(1.0, max(0.0, self.confidence - self.overconfidence))
