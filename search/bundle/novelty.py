"""Recordings unlike the training set, by the embeddings of frozen encoders.

An encoder was trained on many kinds of sound, so it tells apart sounds of which the study's classes
know nothing; the members' disagreement, which is about these classes, often does not.
`search.bundle.predictor` flags a track as out of distribution where, to one of the bundle's
encoders, its cosine similarity to the nearest training track is below a threshold that is fitted
here. Encoders are asked one by one: what one of them cannot tell apart, such as speech of a network
for birds, would blur what another one can.

Source: Sun, Ming, Zhu and Li 2022, "Out-of-distribution detection with deep nearest neighbors",
arXiv:2204.06507.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from chorale.search.bundle.disagreement import IN_DISTRIBUTION_SHARE, ood_threshold
from chorale.search.bundle.embedding import joint_embedding

MAX_REFERENCES = 4_000
"""Training tracks that are kept, evenly spaced: 4 MB for each encoder."""

_REFERENCES, _THRESHOLD = "references", "threshold"

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class References:
    """Training tracks by one encoder: `vectors` (n, width) of length 1.

    A track is unlike them where its cosine similarity to the nearest is below `least_similarity`.
    """

    vectors: Vectors
    least_similarity: float


@dataclass(frozen=True)
class Novelty:
    """The reference tracks of each encoder."""

    by_encoder: Mapping[str, References]

    @classmethod
    def fit(
        cls,
        development: Mapping[str, Vectors],
        folds: NDArray[np.int64],
        test: Mapping[str, Vectors],
    ) -> "Novelty":
        """Fits the thresholds such that 1 % of new tracks of the same kind are flagged.

        Each development track is compared with those of other folds, as a new track comes from a
        new group, and each test track with all; so there are a few references fewer than later, and
        slightly fewer than 1 % are flagged. Of several encoders each has its part of the 1 %.

        Args:
            development: encoder -> (n, width), the mean frame of each track.
            folds: (n,) the fold that holds out each.
            test: encoder -> (n_test, width), of other groups.
        """
        n = min(len(folds), MAX_REFERENCES)
        some = np.unique(np.linspace(0, len(folds) - 1, n).astype(np.int64))
        share = 1 - (1 - IN_DISTRIBUTION_SHARE) / max(1, len(development))
        found = {}
        for name, vectors in development.items():
            directions = joint_embedding([vectors])
            references = directions[some]
            held_out = [
                _nearest(directions[folds == fold], references[folds[some] != fold])
                for fold in np.unique(folds)
            ]
            of_test = _nearest(joint_embedding([test[name]]), references)
            limit = ood_threshold(-np.concatenate([*held_out, of_test]), share)
            found[name] = References(references, -limit)
        return cls(found)

    def margins(self, vectors: Mapping[str, Vectors]) -> NDArray[np.float64]:
        """By how much each track is more similar than required, to the strictest encoder: (n,).

        Args:
            vectors: encoder -> (n, width), the mean frame of each track.
        """
        each = [
            _nearest(joint_embedding([vectors[name]]), one.vectors) - one.least_similarity
            for name, one in self.by_encoder.items()
        ]
        return np.asarray(np.min(each, axis=0))

    def is_unlike(self, vectors: Mapping[str, Vectors]) -> NDArray[np.bool_]:
        """Whether to some encoder a track is less similar to all references than nearly all are."""
        return np.asarray(self.margins(vectors) < 0)

    def write(self, path: Path) -> None:
        """Writes it as safetensors."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray[np.generic]] = {}
        for name, one in self.by_encoder.items():
            arrays[f"{name}/{_REFERENCES}"] = np.ascontiguousarray(one.vectors)
            arrays[f"{name}/{_THRESHOLD}"] = np.array([one.least_similarity], np.float64)
        save_file(arrays, path)

    @classmethod
    def read(cls, path: Path) -> "Novelty":
        """Reads what `write` wrote.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            found = load_file(path)
            names = sorted({key.rpartition("/")[0] for key in found})
            return cls(
                {
                    name: References(
                        found[f"{name}/{_REFERENCES}"], float(found[f"{name}/{_THRESHOLD}"][0])
                    )
                    for name in names
                }
            )
        except (SafetensorError, OSError, KeyError, IndexError) as error:
            raise ValueError(f"cannot be read ({error})") from None


def _nearest(directions: Vectors, references: Vectors) -> NDArray[np.float64]:
    """The cosine similarity of each row to the nearest reference: (n,); -1 without any."""
    if not len(references):
        return np.full(len(directions), -1.0)
    return np.asarray((directions @ references.T).max(axis=1), np.float64)
