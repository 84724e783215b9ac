"""The score by which models are compared: the accuracy, or the mAP of tracks of several labels.

In a file of its own, so that what only shows scores imports no SciPy.
"""

from collections.abc import Mapping
from typing import Any


def main_score_of(scores: Mapping[str, Any]) -> float:
    """The score by which models are compared: the accuracy, or where multi-label the mAP."""
    return float(scores[metric_name(scores)])


def metric_name(scores: Mapping[str, Any]) -> str:
    """The key of that score: "accuracy" or "mAP"."""
    return "mAP" if "mAP" in scores else "accuracy"
