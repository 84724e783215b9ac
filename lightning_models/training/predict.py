"""Inference with a trained network: window-averaged probabilities and embeddings of tracks.

Used by validation after each epoch, for a finalist's test rows, and by bundles.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorale.lightning_models.data.batches import GATHER_BYTES, CropSource
from chorale.lightning_models.data.datamodule import RowIndices, Tracks
from chorale.lightning_models.data.windows import evaluation_windows
from chorale.lightning_models.training.classifier import Classifier

WINDOWS_PER_BATCH: Mapping[str, int] = {"cpu": 64, "cuda": 1024}
"""Windows per forward pass, by device type; more where windows are small."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """A network's predictions for tracks: the means over each track's windows.

    `proba` is float32 (n, n_classes), `embeddings` float32 (n, width).
    """

    proba: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def predict(module: Classifier, data: Tracks, rows: RowIndices) -> Prediction:
    """Predicts for some tracks of a store, in the order of `rows`.

    Args:
        module: used as it is, on the device where it is.
        data: the tracks, of any store; if it is a fold, its labels are not used.
        rows: rows of the store.
    """
    return Evaluator(module, data, rows).predict()


class Evaluator:
    """Repeated prediction for the same tracks, as in validation after each epoch.

    The windows are computed once. The network's device and input statistics must not change.
    """

    def __init__(self, module: Classifier, data: Tracks, rows: RowIndices) -> None:
        """See `predict`."""
        n_frames = module.input_shape[2]
        settings = module.train_config
        n_windows = int(data.lengths.max()) if data.is_table else settings.n_windows
        window_bytes = n_frames * data.store.n_bins * torch.float32.itemsize
        at_once = WINDOWS_PER_BATCH.get(module.device.type, 64)
        size = max(at_once, GATHER_BYTES // window_bytes)
        seen = evaluation_windows(data.lengths, rows, n_frames=n_frames, n_windows=n_windows)
        parts = zip(torch.split(seen.row, size), torch.split(seen.start, size), strict=True)
        self._module = module
        self._parts = list(parts)
        self._source = CropSource(
            data,
            n_frames=n_frames,
            pad=module.mean.flatten(),
            center=settings.center,
            device=module.device,
        )
        self._track = seen.track
        self._n_windows = seen.track.bincount(minlength=len(rows)).unsqueeze(1)

    def predict(self) -> Prediction:
        """The predictions with the network's current weights."""
        module = self._module
        proba: list[Tensor] = []
        embeddings: list[Tensor] = []
        was_training = module.training
        module.eval()
        with torch.inference_mode():
            for row, start in self._parts:
                logits, embedding = module.logits_and_embedding(self._source.gather(row, start))
                proba.append(module.probabilities(logits))
                embeddings.append(embedding)
        module.train(was_training)
        return Prediction(self._means(proba), self._means(embeddings))

    def _means(self, parts: list[Tensor]) -> NDArray[np.float32]:
        """The mean of each track's windows: parts of (all windows, width) -> (n, width)."""
        values = torch.cat(parts).cpu()
        total = torch.zeros(len(self._n_windows), values.shape[1])
        return (total.index_add_(0, self._track, values) / self._n_windows).numpy()
