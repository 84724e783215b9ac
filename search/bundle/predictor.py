"""Inference with a bundle: decode audio, extract features, run networks, ensemble, calibrate.

It needs neither Ray nor a ledger. PyTorch, which takes seconds to import, is imported only if the
bundle holds networks: classical baselines do not need it. `chorale predict`, the library and the
HTTP server predict with it.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets import audio
from chorale.search.bundle.bundle import Bundle, BundledNetwork, bundle_error
from chorale.search.bundle.disagreement import disagreement, predictive_entropy
from chorale.search.bundle.embedding import joint_embedding, mean_frame
from chorale.search.bundle.loading import (
    Waveform,
    encoders_of,
    extract_all,
    load_baseline,
    load_extractor,
    load_networks,
    load_novelty,
    networks_of_members,
    with_parts,
)
from chorale.search.combining import fitted_file
from chorale.search.combining.base import EmbeddingView, EnsembleModel, MemberPredictions
from chorale.search.ensembles import load_ensemble
from chorale.search.statistics.arrays import Floats
from chorale.search.statistics.calibration import calibrate
from chorale.search.statistics.conformal import ConformalPredictor
from chorale.search.statistics.thresholds import labels_above

if TYPE_CHECKING:
    from chorale.lightning_models.training.classifier import Classifier


@dataclass(frozen=True)
class TrackPrediction:
    """The ensemble's prediction for one recording, or for one segment of it.

    `proba` (n_classes,) is calibrated, in the order of the bundle's labels. `conformal_set`
    (n_classes,) is the mask of the classes in the conformal set. `disagreement` is the members'
    mutual information in nats. `out_of_distribution` is set where it, or for a single network the
    entropy of `proba`, exceeds that of nearly all test tracks, or where to the bundle's frozen
    encoders it is unlike all training tracks: the recording may be of none of the classes.
    `embedding` (width,) has length 1; similar recordings have a high cosine similarity
    (`search.bundle.embedding`).

    `predicted` (n_classes,) is the mask of the labels that reach their thresholds, of a bundle
    whose recordings have several; it may be empty. None where a recording has one class.

    `similarity_margin` is by how much the recording is more similar to the training tracks than
    required, to the strictest encoder (below 0: unlike them); None without encoders.
    """

    proba: NDArray[np.float64]
    conformal_set: NDArray[np.bool_]
    disagreement: float
    out_of_distribution: bool
    embedding: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    predicted: NDArray[np.bool_] | None = None
    similarity_margin: float | None = None

    @property
    def order(self) -> NDArray[np.intp]:
        """The indices of all classes, the most probable first."""
        return self.proba.argsort()[::-1]

    @property
    def best(self) -> int:
        """The index of the most probable class."""
        return int(self.proba.argmax())


@dataclass(frozen=True)
class Segment:
    """A segment of a recording, in seconds from its start, and the prediction for it."""

    start_s: float
    end_s: float
    prediction: TrackPrediction


@dataclass(frozen=True)
class PredictorParts:
    """The parts of a loaded bundle: its networks, its feature sets' configs, its ensemble."""

    networks: "list[tuple[BundledNetwork, Classifier]]"
    configs: Mapping[str, Any]
    model: EnsembleModel


class Predictor:
    """A bundle, loaded and ready to predict."""

    def __init__(self, bundle: Bundle) -> None:
        """Loads every network.

        Raises:
            UserError: parts of the bundle do not fit one another.
        """
        self.bundle = bundle
        manifest, root = bundle.manifest, bundle.paths.root
        self.labels = manifest.labels
        self._extractors = with_parts(
            {name: load_extractor(name, config, root) for name, config in manifest.features.items()}
        )
        # bundles of older versions have the embeddings of their networks, as have their libraries
        self._encoders = encoders_of(self._extractors) if manifest.has_novelty else ()
        self._novelty = load_novelty(bundle)
        self._networks = load_networks(bundle, self._extractors) if manifest.networks else []
        self._spaces = sorted({network.space for network in manifest.networks})
        self._baselines = {
            b.member: load_baseline(bundle, b, self._extractors) for b in manifest.baselines
        }
        self._n_networks = networks_of_members(bundle)
        self._spaces = self._spaces or [0]
        _, members, self._model = fitted_file.read_ensemble(bundle.paths.ensemble)
        if tuple(map(str, members)) != manifest.members:
            raise bundle_error(root, "its ensemble combines other members")
        self._multi_label = manifest.multi_label
        self._ensemble = load_ensemble(manifest.kind, multi_label=self._multi_label)
        self._sets = ConformalPredictor(
            manifest.coverage, manifest.least_proba, by_group=False, multi_label=self._multi_label
        )
        self._thresholds = np.array([manifest.thresholds.get(label, 0) for label in self.labels])

    @property
    def parts(self) -> PredictorParts:
        """The loaded parts, for export to another format."""
        configs = {name: extractor.config for name, extractor in self._extractors.items()}
        return PredictorParts(self._networks, configs, self._model)

    def predict_file(self, path: str | Path) -> TrackPrediction:
        """Predicts for an audio file.

        Raises:
            AudioError: it gives no usable waveform.
        """
        return self.predict_waveform(*audio.load_audio(path))

    def predict_waveform(self, waveform: Waveform, sample_rate: int) -> TrackPrediction:
        """Predicts for a waveform: float32 (n_samples,), not empty, full scale 1.0; rate in Hz."""
        return self.predict_waveforms([(waveform, sample_rate)])[0]

    def predict_waveforms(
        self, recordings: Sequence[tuple[Waveform, int]]
    ) -> list[TrackPrediction]:
        """Predicts for several recordings in one batch; each a waveform and its rate in Hz."""
        each = [extract_all(self._extractors, *recording) for recording in recordings]
        return self._predict({name: [one[name] for one in each] for name in self._extractors})

    def timeline(
        self, waveform: Waveform, sample_rate: int, *, segment_s: float
    ) -> tuple[Segment, ...]:
        """Predicts for each segment of a waveform; the last one ends where the waveform does.

        A remainder of less than half a segment is part of the last one.

        Args:
            waveform: as `predict_waveform`.
            sample_rate: in Hz.
            segment_s: the length of a segment, in seconds.
        """
        duration_s = len(waveform) / sample_rate
        n = max(1, round(duration_s / segment_s))
        edges_s = [*(i * segment_s for i in range(n)), duration_s]
        extracted = {}
        framed = {name: one for name, one in self._extractors.items() if not one.is_table}
        whole = extract_all(framed, waveform, sample_rate)
        for name, extractor in self._extractors.items():
            if extractor.is_table:
                at = np.round(np.multiply(edges_s, sample_rate)).astype(int)
                parts = [waveform[i:j] for i, j in itertools.pairwise(at)]
                extracted[name] = [extractor.extract(part, sample_rate) for part in parts]
            else:
                frames = whole[name]  # (n_bins, n_frames)
                at = np.round(np.multiply(edges_s, extractor.config.frame_rate_hz)).astype(int)
                at = np.minimum(at, frames.shape[1] - 1)
                extracted[name] = [frames[:, i : max(j, i + 1)] for i, j in itertools.pairwise(at)]
        predictions = self._predict(extracted)
        return tuple(map(Segment, edges_s[:-1], edges_s[1:], predictions))

    def _predict(self, extracted: dict[str, list[NDArray[np.float32]]]) -> list[TrackPrediction]:
        """One prediction per track; `extracted` maps a feature set to the features of each."""
        manifest = self.bundle.manifest
        used = {network.features for network, _ in self._networks}
        tracks = {name: self._extractors[name].tracks(extracted[name]) for name in used}
        n_tracks = len(next(iter(extracted.values())))
        rows = np.arange(n_tracks)
        shape = (len(self._spaces), len(manifest.members), n_tracks, len(self.labels))
        proba = np.zeros(shape, np.float32)
        embeddings: dict[tuple[int, int], NDArray[np.float32]] = {}
        if self._networks:
            from chorale.lightning_models.training.predict import predict
        for network, module in self._networks:
            found = predict(module, tracks[network.features], rows)
            at = self._spaces.index(network.space)
            proba[at, network.member] = found.proba
            embeddings[at, network.member] = found.embeddings
        of_baselines = []
        for member, baseline in self._baselines.items():
            statistics = baseline.rows([one.T for one in extracted[baseline.features]])
            proba[0, member] = baseline.proba(statistics)
            of_baselines.append(baseline.embeddings(statistics))
        members = range(len(manifest.members))
        mean = np.stack([proba[:n, m].mean(axis=0) for m, n in enumerate(self._n_networks)])
        for member, n in enumerate(self._n_networks):  # the networks of its seeds repeat
            proba[:, member] = proba[np.arange(len(proba)) % n, member]
        views = tuple(
            EmbeddingView(np.full(n_tracks, space), tuple(embeddings.get((at, m)) for m in members))
            for at, space in enumerate(self._spaces)
        )
        predictions = MemberPredictions(mean, manifest.architectures, views)
        combined = self._combined(predictions)
        sets = self._sets.sets(combined)
        chosen = (
            labels_above(combined, self._thresholds) if self._multi_label else [None] * n_tracks
        )
        # within each fold's networks, as the threshold was fitted on test tracks
        multi_label = self._multi_label
        apart = np.mean([disagreement(one, multi_label=multi_label) for one in proba], axis=0)
        places = [(at, m) for at in range(len(self._spaces)) for m in members]
        of_networks = [embeddings[p] for p in places if p in embeddings]
        of_encoders = {
            name: np.stack([mean_frame(one.T) for one in extracted[name]])
            for name in self._encoders
        }
        joint = joint_embedding([*of_encoders.values()] or of_networks or of_baselines)
        is_out = apart > manifest.most_disagreement
        margins: list[float | None] = [None] * n_tracks
        if self._novelty is not None:
            found_margins = self._novelty.margins(of_encoders)
            is_out |= found_margins < 0
            margins = [float(one) for one in found_margins]
        if manifest.most_entropy is not None:
            is_out |= self._mean_entropy(proba, views) > manifest.most_entropy
        return [
            TrackPrediction(
                combined[i],
                sets[i],
                float(apart[i]),
                bool(is_out[i]),
                joint[i],
                chosen[i],
                margins[i],
            )
            for i in range(n_tracks)
        ]

    def _combined(self, predictions: MemberPredictions) -> Floats:
        """The ensemble's calibrated probabilities: (n_tracks, n_classes)."""
        return calibrate(
            self._ensemble.predict(self._model, predictions),
            self.bundle.manifest.temperature,
            multi_label=self._multi_label,
        )

    def _mean_entropy(self, proba: NDArray[np.float32], views: tuple[EmbeddingView, ...]) -> Floats:
        """The entropy of each fold's ensemble, averaged over the folds: (n_tracks,).

        This is how the threshold was fitted on test tracks.
        """
        manifest = self.bundle.manifest
        found = []
        for one, view in zip(proba, views, strict=True):
            combined = self._combined(MemberPredictions(one, manifest.architectures, (view,)))
            found.append(predictive_entropy(combined, multi_label=self._multi_label))
        return np.asarray(np.mean(found, axis=0))
