"""JSON serialization of a prediction, for `chorale predict --format json` and the HTTP server."""

from collections.abc import Sequence
from typing import Any

from chorale.search.bundle.predictor import TrackPrediction


def prediction_json(
    prediction: TrackPrediction, labels: Sequence[str], *, top: int
) -> dict[str, Any]:
    """A prediction as a JSON-ready dict; `top` is how many labels to list."""
    order = prediction.proba.argsort()[::-1]
    proba = [round(float(value), 6) for value in prediction.proba]
    return {
        "label": labels[prediction.best],
        "top": [{"label": labels[i], "proba": proba[i]} for i in order[:top]],
        "proba": {labels[i]: proba[i] for i in range(len(labels))},
        "set": [labels[i] for i in order if prediction.conformal_set[i]],
        "disagreement": round(prediction.disagreement, 6),
        "none_of_these": prediction.out_of_distribution,
    }
