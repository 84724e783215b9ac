"""Asks a trained network what it makes of tracks.

Training does so after each epoch, `search` for its finalists, prediction for a person's audio.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorale.lightning_models.data.batches import AT_ONCE_BYTES, CropSource, windows
from chorale.lightning_models.data.datamodule import Rows, Tracks
from chorale.lightning_models.training.classifier import Classifier

WINDOWS_AT_ONCE: Mapping[str, int] = {"cpu": 64, "cuda": 1024}
"""How many windows are judged in one pass, by kind of device; more where they are small."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of tracks: the means over each track's windows.

    `proba` is float32 (n, n_classes), `embeddings` float32 (n, width).
    """

    proba: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def predict(module: Classifier, data: Tracks, rows: Rows) -> Prediction:
    """What a trained network says of some tracks of a store, in the order of `rows`.

    Args:
        module: judged as it is; it may be on any device.
        data: the tracks, of any store; if it is a fold, its labels are not looked at.
        rows: rows of the store.
    """
    return Questions(module, data, rows).ask()


class Questions:
    """What a network is asked of the same tracks again and again, as after each epoch.

    What stays the same is worked out once. The network's device and statistics must stay, too.
    """

    def __init__(self, module: Classifier, data: Tracks, rows: Rows) -> None:
        """See `predict`."""
        n_frames = module.input_shape[2]
        settings = module.train_config
        n_windows = int(data.lengths.max()) if data.is_table else settings.n_windows
        window_bytes = n_frames * data.store.n_bins * torch.float32.itemsize
        at_once = WINDOWS_AT_ONCE.get(module.device.type, 64)
        size = max(at_once, AT_ONCE_BYTES // window_bytes)
        seen = windows(data.lengths, rows, n_frames=n_frames, n_windows=n_windows)
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

    def ask(self) -> Prediction:
        """What the network says of them now."""
        module = self._module
        proba: list[Tensor] = []
        embeddings: list[Tensor] = []
        was_training = module.training
        module.eval()
        with torch.inference_mode():
            for row, start in self._parts:
                logits, embedding = module.judge(self._source.gather(row, start))
                proba.append(logits.softmax(dim=1))
                embeddings.append(embedding)
        module.train(was_training)
        return Prediction(self._means(proba), self._means(embeddings))

    def _means(self, parts: list[Tensor]) -> NDArray[np.float32]:
        """The mean of each track's windows: parts of (all windows, width) -> (n, width)."""
        values = torch.cat(parts).cpu()
        total = torch.zeros(len(self._n_windows), values.shape[1])
        return (total.index_add_(0, self._track, values) / self._n_windows).numpy()
