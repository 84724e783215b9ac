"""A prediction as JSON: what `chorale predict --format json` and the server answer."""

from collections.abc import Sequence
from typing import Any

from chorale.search.bundle.predictor import Guess


def guess_json(guess: Guess, labels: Sequence[str], *, top: int) -> dict[str, Any]:
    """A guess as JSON can hold it."""
    order = guess.proba.argsort()[::-1]
    return {
        "label": labels[guess.best],
        "top": [
            {"label": labels[i], "proba": round(float(guess.proba[i]), 6)} for i in order[:top]
        ],
        "proba": {labels[i]: round(float(guess.proba[i]), 6) for i in range(len(labels))},
        "set": [labels[i] for i in order if guess.inside[i]],
        "disagreement": round(guess.disagreement, 6),
        "none_of_these": guess.strange,
    }
