"""The fusion network: a strongly regularised MLP that corrects an ensemble's logits.

It has one hidden layer and scores one class at a time, with weights shared by all classes, so that
a few hundred tracks are a few thousand examples. `search.ensembles.fusion` fits it. It is plain
NumPy with its own random generator, and its weights are plain arrays.

Source: dropout after Srivastava et al. 2014, "Dropout", JMLR 15; AdamW after Loshchilov and Hutter
2019, "Decoupled Weight Decay Regularization", arXiv:1711.05101.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.search.statistics.arrays import Labels
from chorale.search.statistics.softmax import softmax

N_HIDDEN = 16
N_TRAINING_STEPS = 80
LEARNING_RATE = 0.01
WEIGHT_DECAY = 1.0
DROP_INPUT, DROP_HIDDEN = 0.2, 0.5
"""Dropout probabilities."""
DROP_OPTIONAL = 0.3
"""The share of tracks from which all optional inputs are dropped in a training step."""

MAX_BATCH_VALUES = 30_000
MIN_BATCH_TRACKS = 500
"""A step reads as many tracks as have so many classes together, but no fewer than the minimum: its
time, and that of the ensemble, does not grow with the data."""

AnyFloats = NDArray[np.floating[Any]]
Layers = dict[str, AnyFloats]
LAYER_NAMES = ("hidden", "hidden_bias", "out", "direct")


def train_fusion_net(
    x: AnyFloats, base: AnyFloats, labels: Labels, *, optional: Labels, seed: int
) -> Layers:
    """Trains the layers `hidden`, `hidden_bias`, `out` and `direct`, with AdamW.

    A step reads all tracks, or of many a random part.

    `out` and `direct`, a skip connection past the hidden layer, are initialised with 0, so that
    training begins with a correction of 0.

    Args:
        x: (n, n_classes, n_inputs), standardised; missing inputs are 0.
        base: (n, n_classes) logits to which the correction is added.
        labels: (n,) class indices.
        optional: the positions of inputs that a track may lack.
        seed: of the initial weights and of dropout.
    """
    rng = np.random.default_rng(seed)
    n, n_classes, n_inputs = x.shape
    x, base = x.astype(np.float32), base.astype(np.float32)
    truth = np.eye(n_classes, dtype=np.float32)[labels]
    layers: Layers = {
        "hidden": rng.normal(0, math.sqrt(2 / n_inputs), (n_inputs, N_HIDDEN)).astype(np.float32),
        "hidden_bias": np.zeros(N_HIDDEN, np.float32),
        "out": np.zeros(N_HIDDEN, np.float32),
        "direct": np.zeros(n_inputs, np.float32),
    }
    first = {name: np.zeros_like(layer) for name, layer in layers.items()}
    second = {name: np.zeros_like(layer) for name, layer in layers.items()}
    n_batch = min(n, max(MIN_BATCH_TRACKS, MAX_BATCH_VALUES // n_classes))
    for step in range(1, N_TRAINING_STEPS + 1):
        batch = slice(None) if n_batch == n else rng.choice(n, n_batch, replace=False)
        kept = _mask(rng, (n_batch, 1, n_inputs), DROP_INPUT)
        blind = np.flatnonzero(rng.random(n_batch) < DROP_OPTIONAL)
        kept[blind[:, None], 0, optional] = 0
        mask = _mask(rng, (n_batch, 1, N_HIDDEN), DROP_HIDDEN)
        gradients = _gradients(layers, x[batch] * kept, base[batch], truth[batch], mask)
        rate = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / N_TRAINING_STEPS))
        for name, gradient in gradients.items():
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.99 * second[name] + 0.01 * gradient**2
            change = first[name] / (1 - 0.9**step)
            change = change / (np.sqrt(second[name] / (1 - 0.99**step)) + 1e-8)
            layers[name] = layers[name] - rate * (change + WEIGHT_DECAY * layers[name])
    return layers


def correction(layers: Layers, x: AnyFloats) -> AnyFloats:
    """What is added to the logits: (n, n_classes), for inputs `x` (n, n_classes, n_inputs)."""
    hidden = np.maximum(x @ layers["hidden"] + layers["hidden_bias"], 0)
    return np.asarray(hidden @ layers["out"] + x @ layers["direct"])


def _gradients(
    layers: Layers, x: AnyFloats, base: AnyFloats, truth: AnyFloats, mask: AnyFloats
) -> Layers:
    """The gradients of the mean log loss; `mask` (n, 1, N_HIDDEN) drops hidden units."""
    before = x @ layers["hidden"] + layers["hidden_bias"]
    hidden = np.maximum(before, 0) * mask
    logits = base + hidden @ layers["out"] + x @ layers["direct"]
    off = (softmax(logits) - truth) / len(x)  # (n, n_classes)
    back = off[:, :, None] * layers["out"] * mask * (before > 0)
    flat, back = x.reshape(-1, x.shape[2]), back.reshape(-1, N_HIDDEN)
    return {
        "hidden": flat.T @ back,
        "hidden_bias": back.sum(axis=0),
        "out": hidden.reshape(-1, N_HIDDEN).T @ off.ravel(),
        "direct": flat.T @ off.ravel(),
    }


def _mask(rng: np.random.Generator, shape: tuple[int, ...], share: float) -> AnyFloats:
    """A dropout mask, scaled so that the expected value of an input stays the same."""
    kept = rng.random(shape, dtype=np.float32) >= share
    return kept.astype(np.float32) / np.float32(1 - share)
