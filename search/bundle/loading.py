"""Loads the parts of a bundle: networks, classical baselines and feature extractors.

`search.bundle.predictor` predicts with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets import audio
from chorale.datasets.config import read_config
from chorale.datasets.features import layout_of, load_feature_set
from chorale.search.bundle.bundle import Bundle, BundledBaseline, BundledNetwork, bundle_error
from chorale.search.bundle.novelty import Novelty

if TYPE_CHECKING:
    from chorale.lightning_models.data.datamodule import Tracks
    from chorale.lightning_models.training.classifier import Classifier
    from chorale.search.baselines.baseline_file import FittedBaseline

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureExtractor:
    """A feature set: its plug-in and its config."""

    plugin: Any
    config: Any

    @cached_property
    def parts(self) -> "Mapping[str, FeatureExtractor]":
        """The feature sets that are joined, by name; none for any other than `joined`."""
        configs = getattr(self.config, "configs", {})
        return {
            name: FeatureExtractor(load_feature_set(name), one) for name, one in configs.items()
        }

    @property
    def is_table(self) -> bool:
        """Whether a track is one row of values, without frames."""
        return not self.config.frame_rate_hz

    def extract(self, waveform: Waveform, sample_rate: int) -> NDArray[np.float32]:
        """Features (n_bins, n_frames); a waveform at another rate is resampled.

        See `extract_all` for those that are joined.
        """
        rate = self.config.sample_rate
        if rate != sample_rate:
            waveform = audio.resample(waveform, sample_rate, rate)
        found = np.asarray(self.plugin.extract(waveform, self.config), np.float32)
        return found if found.ndim == 2 else found[:, None]

    def join(self, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """The features of `parts`, each (n_bins, n_frames), side by side."""
        found: NDArray[np.float32] = self.plugin.join_frames([part.T for part in parts]).T
        return found

    def tracks(self, extracted: Sequence[NDArray[np.float32]]) -> "Tracks":
        """The features of some tracks as networks take them."""
        from chorale.lightning_models.data.datamodule import MemoryFrames, Tracks

        return Tracks(
            MemoryFrames.of(
                extracted,
                frame_rate_hz=self.config.frame_rate_hz,
                n_channels=getattr(self.config, "n_channels", 1),
            )
        )


def with_parts(extractors: Mapping[str, FeatureExtractor]) -> dict[str, FeatureExtractor]:
    """The extractors, and before them the parts of those that are joined."""
    parts = {name: one for joined in extractors.values() for name, one in joined.parts.items()}
    return {**parts, **extractors}


def encoders_of(extractors: Mapping[str, FeatureExtractor]) -> tuple[str, ...]:
    """The names of the frozen encoders among them, sorted; not of those that are joined."""
    return tuple(
        name
        for name, one in sorted(extractors.items())
        if layout_of(name) == "embedding" and not one.parts
    )


def extract_all(
    extractors: Mapping[str, FeatureExtractor], waveform: Waveform, sample_rate: int
) -> dict[str, NDArray[np.float32]]:
    """Each feature set of a recording, (n_bins, n_frames); the parts of joined ones among them."""
    found = {
        name: one.extract(waveform, sample_rate)
        for name, one in extractors.items()
        if not one.parts
    }
    for name, joined in extractors.items():
        if joined.parts:
            found[name] = joined.join([found[part] for part in joined.parts])
    return found


def load_networks(
    bundle: Bundle, extractors: Mapping[str, FeatureExtractor]
) -> "list[tuple[BundledNetwork, Classifier]]":
    """All networks of a bundle.

    Raises:
        UserError: one is damaged, or was trained on other labels, features or another task.
    """
    from chorale.lightning_models.training import checkpoint

    found, root = [], bundle.paths.root
    for network in bundle.manifest.networks:
        module, card = checkpoint.load_checkpoint(root / network.folder)
        if tuple(card["labels"]) != bundle.manifest.labels:
            raise bundle_error(root, f"'{network.folder}' was trained on other labels")
        _check_task(bundle, network.folder, multi_label=module.multi_label)
        if network.features not in extractors:
            raise bundle_error(root, f"'{network.folder}' needs features {network.features}")
        found.append((network, module))
    return found


def networks_of_members(bundle: Bundle) -> tuple[int, ...]:
    """The number of networks of each member, in the ensemble's order; a baseline counts as one.

    Raises:
        UserError: some are missing, or there is no member.
    """
    manifest = bundle.manifest
    found = [manifest.n_networks(at) for at in range(len(manifest.members))]
    if not found or None in found:
        raise bundle_error(bundle.paths.root, "networks of its ensemble are missing")
    return tuple(max(1, n or 0) for n in found)


def _check_task(bundle: Bundle, name: str, *, multi_label: bool) -> None:
    """Refuses a model that was not trained for the manifest's task."""
    if multi_label != bundle.manifest.multi_label:
        trained = "multi_label" if multi_label else "single_label"
        why = f"'{name}' was trained for the task {trained}, the manifest's is"
        raise bundle_error(bundle.paths.root, f"{why} {bundle.manifest.task}")


def load_baseline(
    bundle: Bundle, one: BundledBaseline, extractors: Mapping[str, FeatureExtractor]
) -> "FittedBaseline":
    """A classical classifier of a bundle.

    Raises:
        UserError: it is damaged, or was trained on other features or another task.
    """
    from chorale.search.baselines.baseline_file import read_baseline

    baseline = read_baseline(bundle.paths.root / one.file)
    _check_task(bundle, one.file, multi_label=baseline.multi_label)
    if baseline.features not in extractors:
        raise bundle_error(bundle.paths.root, f"'{one.file}' needs features {baseline.features}")
    return baseline


def load_novelty(bundle: Bundle) -> Novelty | None:
    """What tells recordings unlike the training set; None for a bundle without encoders.

    Raises:
        UserError: it is damaged.
    """
    if not bundle.manifest.has_novelty:
        return None
    try:
        return Novelty.read(bundle.paths.novelty)
    except ValueError as error:
        name = bundle.paths.novelty.name
        raise bundle_error(bundle.paths.root, f"'{name}' {error}") from None


def load_extractor(name: str, config: Mapping[str, Any], root: Path) -> FeatureExtractor:
    """A feature set by name; a path in its config is below the bundle's folder `root`."""
    plugin, values = load_feature_set(name), _with_paths(config, root)
    return FeatureExtractor(
        plugin, read_config(plugin.Config, values, where=f"the bundle in '{root}'")
    )


def _with_paths(config: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """The config, and those of its parts, with the whole path of a file in the bundle."""
    found = dict(config)
    if found.get("path"):
        found["path"] = str(root / found["path"])
    if "parts" in found:
        found["parts"] = {key: _with_paths(one, root) for key, one in found["parts"].items()}
    return found
