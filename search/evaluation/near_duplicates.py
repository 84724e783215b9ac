"""Near duplicates on two sides of a study's split, for the warnings beside its scores."""

from collections.abc import Sequence

from chorale.search.evaluation.warnings import sides_of_tracks
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.ledger.near_pairs import NearPair, listed


def near_duplicate_warnings(pairs: Sequence[NearPair], truth: GroundTruth) -> list[str]:
    """A line where near duplicates are on two sides of the split; empty for none.

    Args:
        pairs: of the study.
        truth: of all tracks.
    """
    side_of = sides_of_tracks(truth)
    apart = [one for one in pairs if side_of.get(one.track_id) != side_of.get(one.other_id)]
    if not apart:
        return []
    n = len(apart)
    return [
        f"{n} {'pair' if n == 1 else 'pairs'} of near duplicates {'is' if n == 1 else 'are'} on "
        f"two sides of the split, so that scores may be too high: {listed(apart)}"
    ]
