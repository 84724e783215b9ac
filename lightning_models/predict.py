"""Asks a trained network what it makes of tracks.

Training does so after each epoch, `search` for its finalists, prediction for a person's audio.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_models.batches import AT_ONCE_BYTES, CropSource, windows
from lightning_models.datamodule import Rows, Tracks
from lightning_models.module import GenreClassifier

WINDOWS_AT_ONCE: Mapping[str, int] = {"cpu": 64, "cuda": 1024}
"""How many windows are judged in one pass, by kind of device; more where they are small."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of tracks: the means over each track's windows.

    `proba` is float32 (n, n_classes), `embeddings` float32 (n, width).
    """

    proba: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def predict(module: GenreClassifier, data: Tracks, rows: Rows) -> Prediction:
    """What a trained network says of some tracks of a store, in the order of `rows`.

    Args:
        module: judged as it is; it may be on any device.
        data: the tracks, of any store; if it is a fold, its labels are not looked at.
        rows: rows of the store.
    """
    device = module.device
    n_frames = module.input_shape[2]
    settings = module.train_config
    n_windows = int(data.lengths.max()) if data.is_table else settings.n_windows
    seen = windows(data.lengths, rows, n_frames=n_frames, n_windows=n_windows)
    mean = module.mean.flatten()
    source = CropSource(data, n_frames=n_frames, pad=mean, center=settings.center, device=device)
    window_bytes = n_frames * data.store.n_bins * torch.float32.itemsize
    size = max(WINDOWS_AT_ONCE.get(device.type, 64), AT_ONCE_BYTES // window_bytes)
    proba: list[Tensor] = []
    embeddings: list[Tensor] = []
    was_training = module.training
    module.eval()
    with torch.inference_mode():
        for row, start in zip(
            torch.split(seen.row, size), torch.split(seen.start, size), strict=True
        ):
            logits, embedding = module.judge(source.gather(row, start))
            proba.append(logits.softmax(dim=1))
            embeddings.append(embedding)
    module.train(was_training)
    n = len(rows)
    return Prediction(
        proba=_mean_by(torch.cat(proba).cpu(), seen.track, n),
        embeddings=_mean_by(torch.cat(embeddings).cpu(), seen.track, n),
    )


def _mean_by(values: Tensor, group: Tensor, n_groups: int) -> NDArray[np.float32]:
    """The mean of the `values` (n, width) of each group: (n_groups, width)."""
    total = torch.zeros(n_groups, values.shape[1]).index_add_(0, group, values)
    return (total / group.bincount(minlength=n_groups).unsqueeze(1)).numpy()
