"""Says what a recording is, by a bundle: decode, features, networks, ensemble, calibration.

It needs neither Ray nor a ledger, and PyTorch, which takes seconds to import, where networks are in
the bundle: baselines do without. `chorale predict` and whoever serves a bundle ask here.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets import audio, features, plugins
from chorale.datasets.config import read
from chorale.search import ensembles
from chorale.search.bundle.bundle import Bundle, BundledBaseline, Network, damaged
from chorale.search.bundle.disagreement import disagreement, entropy
from chorale.search.bundle.embedding import embedding
from chorale.search.combining import fitted_file
from chorale.search.combining.base import Model, Said, View
from chorale.search.statistics.arrays import Floats
from chorale.search.statistics.calibration import calibrate
from chorale.search.statistics.conformal import Conformal

if TYPE_CHECKING:
    from chorale.lightning_models.data.datamodule import Tracks
    from chorale.lightning_models.training.classifier import Classifier
    from chorale.search.baselines.baseline_file import FittedBaseline

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class Guess:
    """What the ensemble says of one recording, or of one segment of it.

    `proba` (n_classes,) is calibrated, in the order of the bundle's labels. `inside` marks the
    classes of the conformal set. `disagreement` is in nats; `strange` says that it, or of a single
    network the entropy of `proba`, is more than nearly all test tracks had, so that it may be none
    of the classes. `embedding` (width,) has length 1; what sounds alike lies close
    (`search.bundle.embedding`).
    """

    proba: NDArray[np.float64]
    inside: NDArray[np.bool_]
    disagreement: float
    strange: bool
    embedding: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def best(self) -> int:
        """The most probable class."""
        return int(self.proba.argmax())


@dataclass(frozen=True)
class Segment:
    """A part of a recording, in seconds from its begin, and what is said of it."""

    start_s: float
    end_s: float
    guess: Guess


@dataclass(frozen=True)
class _Ear:
    """A feature set: its plug-in and its config."""

    plugin: Any
    config: Any

    @property
    def is_table(self) -> bool:
        return not self.config.frame_rate_hz

    def hear(self, waveform: Waveform, sample_rate: int) -> NDArray[np.float32]:
        """(n_bins, n_frames) of a waveform at another rate."""
        rate = self.config.sample_rate
        if rate != sample_rate:
            waveform = audio.resample(waveform, sample_rate, rate)
        found = np.asarray(self.plugin.extract(waveform, self.config), np.float32)
        return found if found.ndim == 2 else found[:, None]

    def tracks(self, heard: Sequence[NDArray[np.float32]]) -> "Tracks":
        from chorale.lightning_models.data.datamodule import MemoryFrames, Tracks

        return Tracks(
            MemoryFrames.of(
                heard,
                frame_rate_hz=self.config.frame_rate_hz,
                n_channels=getattr(self.config, "n_channels", 1),
            )
        )


@dataclass(frozen=True)
class Parts:
    """What a loaded bundle is made of: its networks, its feature sets' configs, its ensemble."""

    networks: "list[tuple[Network, Classifier]]"
    configs: Mapping[str, Any]
    model: Model


class Predictor:
    """A bundle, loaded and ready."""

    def __init__(self, bundle: Bundle) -> None:
        """Loads every network.

        Raises:
            UserError: parts of the bundle do not fit one another.
        """
        self.bundle = bundle
        manifest, root = bundle.manifest, bundle.paths.root
        self.labels = manifest.labels
        self._ears = {name: _ear(name, dict(c), root) for name, c in manifest.features.items()}
        self._networks = _networks(bundle, self._ears) if manifest.networks else []
        self._spaces = sorted({network.space for network in manifest.networks})
        self._baselines = {b.member: _baseline(root, b, self._ears) for b in manifest.baselines}
        trials = set(range(len(manifest.members))) - self._baselines.keys()
        wanted = {(m, s) for m in trials for s in self._spaces}
        if {(n.member, n.space) for n in manifest.networks} != wanted or not manifest.members:
            raise damaged(root, "networks of its ensemble are missing")
        self._spaces = self._spaces or [0]
        _, members, self._model = fitted_file.read_model(bundle.paths.ensemble)
        if tuple(map(str, members)) != manifest.members:
            raise damaged(root, "its ensemble combines other members")
        self._ensemble: Any = plugins.load(ensembles, manifest.kind, kind="ensemble")
        self._sets = Conformal(manifest.coverage, manifest.least_proba, by_group=False)

    @property
    def parts(self) -> Parts:
        """What it is made of, for who makes something else of it."""
        configs = {name: ear.config for name, ear in self._ears.items()}
        return Parts(self._networks, configs, self._model)

    def of_file(self, path: str | Path) -> Guess:
        """What a file is.

        Raises:
            AudioError: it gives no usable waveform.
        """
        return self.of_waveform(*audio.load(path))

    def of_waveform(self, waveform: Waveform, sample_rate: int) -> Guess:
        """What a waveform is: float32 (n_samples,), not empty, full scale 1.0, at a rate in Hz."""
        heard = {name: [ear.hear(waveform, sample_rate)] for name, ear in self._ears.items()}
        return self._of_heard(heard)[0]

    def of_waveforms(self, recordings: Sequence[tuple[Waveform, int]]) -> list[Guess]:
        """What several recordings are, judged in one batch; each a waveform and its rate in Hz."""
        heard = {name: [ear.hear(*one) for one in recordings] for name, ear in self._ears.items()}
        return self._of_heard(heard)

    def timeline(
        self, waveform: Waveform, sample_rate: int, *, segment_s: float
    ) -> tuple[Segment, ...]:
        """What each segment of a waveform is; the last one ends where the waveform does.

        A rest of less than half a segment belongs to the last one.

        Args:
            waveform: as `of_waveform`.
            sample_rate: in Hz.
            segment_s: the length of a segment, in seconds.
        """
        duration_s = len(waveform) / sample_rate
        n = max(1, round(duration_s / segment_s))
        edges_s = [*(i * segment_s for i in range(n)), duration_s]
        heard = {}
        for name, ear in self._ears.items():
            if ear.is_table:
                at = np.round(np.multiply(edges_s, sample_rate)).astype(int)
                parts = [waveform[i:j] for i, j in itertools.pairwise(at)]
                heard[name] = [ear.hear(part, sample_rate) for part in parts]
            else:
                whole = ear.hear(waveform, sample_rate)
                at = np.round(np.multiply(edges_s, ear.config.frame_rate_hz)).astype(int)
                at = np.minimum(at, whole.shape[1] - 1)
                heard[name] = [whole[:, i : max(j, i + 1)] for i, j in itertools.pairwise(at)]
        guesses = self._of_heard(heard)
        return tuple(map(Segment, edges_s[:-1], edges_s[1:], guesses))

    def _of_heard(self, heard: dict[str, list[NDArray[np.float32]]]) -> list[Guess]:
        """One guess a track, from the features of each."""
        manifest = self.bundle.manifest
        read = {network.features for network, _ in self._networks}
        tracks = {name: self._ears[name].tracks(heard[name]) for name in read}
        n_tracks = len(next(iter(heard.values())))
        rows = np.arange(n_tracks)
        shape = (len(self._spaces), len(manifest.members), n_tracks, len(self.labels))
        proba = np.zeros(shape, np.float32)
        seen: dict[tuple[int, int], NDArray[np.float32]] = {}
        if self._networks:
            from chorale.lightning_models.training.predict import predict
        for network, module in self._networks:
            found = predict(module, tracks[network.features], rows)
            at = self._spaces.index(network.space)
            proba[at, network.member] = found.proba
            seen[at, network.member] = found.embeddings
        alone = []
        for member, baseline in self._baselines.items():
            said_rows = baseline.rows([one.T for one in heard[baseline.features]])
            proba[:, member] = baseline.proba(said_rows)
            alone.append(baseline.embeddings(said_rows))
        members = range(len(manifest.members))
        views = tuple(
            View(np.full(n_tracks, space), tuple(seen.get((at, m)) for m in members))
            for at, space in enumerate(self._spaces)
        )
        said = Said(proba.mean(axis=0), manifest.architectures, views)
        together = calibrate(self._ensemble.predict(self._model, said), manifest.temperature)
        sets = self._sets.sets(together)
        # within each fold's networks, as it was measured on test tracks
        apart = np.mean([disagreement(one) for one in proba], axis=0)
        places = [(at, m) for at in range(len(self._spaces)) for m in members]
        vectors = embedding([seen[place] for place in places if place in seen] or alone)
        strange = apart > manifest.most_disagreement
        if manifest.most_entropy is not None:
            strange |= self._unsure(proba, views) > manifest.most_entropy
        return [
            Guess(together[i], sets[i], float(apart[i]), bool(strange[i]), vectors[i])
            for i in range(n_tracks)
        ]

    def _unsure(self, proba: NDArray[np.float32], views: tuple[View, ...]) -> Floats:
        """The entropy of what each fold's networks say, its mean over the folds, (n_tracks,).

        As it was measured on test tracks.
        """
        manifest = self.bundle.manifest
        found = []
        for one, view in zip(proba, views, strict=True):
            said = Said(one, manifest.architectures, (view,))
            alone = self._ensemble.predict(self._model, said)
            found.append(entropy(calibrate(alone, manifest.temperature)))
        return np.asarray(np.mean(found, axis=0))


def _networks(bundle: Bundle, ears: Mapping[str, _Ear]) -> "list[tuple[Network, Classifier]]":
    from chorale.lightning_models.training import checkpoint

    found, root = [], bundle.paths.root
    for network in bundle.manifest.networks:
        module, card = checkpoint.load(root / network.folder)
        if tuple(card["labels"]) != bundle.manifest.labels:
            raise damaged(root, f"'{network.folder}' knows other labels")
        if network.features not in ears:
            raise damaged(root, f"'{network.folder}' needs features {network.features}")
        found.append((network, module))
    return found


def _baseline(root: Path, one: BundledBaseline, ears: Mapping[str, _Ear]) -> "FittedBaseline":
    from chorale.search.baselines.baseline_file import read_baseline

    baseline = read_baseline(root / one.file)
    if baseline.features not in ears:
        raise damaged(root, f"'{one.file}' needs features {baseline.features}")
    return baseline


def _ear(name: str, config: dict[str, Any], root: Path) -> _Ear:
    plugin = plugins.load(features, name, kind="feature set")
    if config.get("path"):  # a file of the bundle's own
        config["path"] = str(root / config["path"])
    return _Ear(plugin, read(plugin.Config, config, where=f"the bundle in '{root}'"))
