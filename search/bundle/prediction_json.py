"""JSON serialization of a prediction, for `chorale predict --format json` and the HTTP server."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chorale.search.bundle.predictor import TrackPrediction


def prediction_json(
    prediction: TrackPrediction, labels: Sequence[str], *, top: int
) -> dict[str, Any]:
    """A prediction as a JSON-ready dict; `top` is how many labels to list.

    Keys: top (label and proba of each), proba (of every label), set, disagreement. With one class a
    recording, `label` is the most probable one, and `none_of_these` the out-of-distribution flag;
    with several, `labels` are those that reach their thresholds, each with its proba, and the flag
    is `out_of_distribution`, as a recording may well have none of the labels.
    """
    order = prediction.order
    proba = [round(float(value), 6) for value in prediction.proba]

    def listed(indices: Iterable[int]) -> list[dict[str, Any]]:
        return [{"label": labels[i], "proba": proba[i]} for i in indices]

    rest = {
        "top": listed(order[:top]),
        "proba": {labels[i]: proba[i] for i in range(len(labels))},
        "set": [labels[i] for i in order if prediction.conformal_set[i]],
        "disagreement": round(prediction.disagreement, 6),
    }
    chosen, outside = prediction.predicted, prediction.out_of_distribution
    if chosen is None:
        return {"label": labels[prediction.best], **rest, "none_of_these": outside}
    chosen_labels = listed(i for i in order if chosen[i])
    return {"labels": chosen_labels, **rest, "out_of_distribution": outside}


def predicted_labels(answer: Mapping[str, Any]) -> list[str]:
    """The labels that a result of `prediction_json` predicts: one class, or any number."""
    return [one["label"] for one in answer["labels"]] if "labels" in answer else [answer["label"]]
