"""Scores to probabilities; what is in `scipy.special`, without its import of a quarter second."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]


def log_softmax(scores: Floats) -> Floats:
    """The logarithm of `softmax`, exact also where that is too small to be told from 0."""
    below = scores - scores.max(axis=-1, keepdims=True)
    return np.asarray(below - np.log(np.exp(below).sum(axis=-1, keepdims=True)))


def softmax(scores: Floats) -> Floats:
    """Probabilities in proportion to exp(score), along the last axis."""
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))
