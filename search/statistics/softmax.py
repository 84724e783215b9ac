"""Softmax, log-softmax and sigmoid as in `scipy.special`, whose import takes a quarter second."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[Any]


def log_softmax(logits: Logits) -> Logits:
    """The logarithm of `softmax`, exact also where the probability underflows to 0."""
    below = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(below - np.log(np.exp(below).sum(axis=-1, keepdims=True)))


def softmax(logits: Logits) -> Logits:
    """Probabilities in proportion to exp(logit), along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def sigmoid(logits: Logits) -> Logits:
    """Probabilities of log-odds, elementwise, without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits)))
