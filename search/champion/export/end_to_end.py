"""End-to-end network of a bundle: one PyTorch module from waveform to calibrated probabilities.

Its predictions equal those of `search.bundle.predictor.Predictor`;
`search.champion.export.onnx_file` exports it.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from chorale.datasets import plugins
from chorale.datasets.errors import UserError
from chorale.datasets.features import load_feature_set
from chorale.lightning_models.data.windows import NEGLIGIBLE_SHARE
from chorale.lightning_models.training.classifier import Classifier
from chorale.search import ensembles
from chorale.search.bundle.bundle import BundledNetwork, BundleManifest
from chorale.search.combining.base import EnsembleModel
from chorale.search.statistics.calibration import CALIBRATION_PROBA_FLOOR


class EndToEndNetwork(nn.Module):
    """(n_samples,) at `sample_rate` Hz -> (n_classes,) and (n_spaces, n_members, n_classes).

    The first are the ensemble's calibrated probabilities, the second those of each network. Where
    a recording has several labels, the ensemble combines the two probabilities of each label,
    absent and present, as `search.combining.multi_label` does. The networks of a member with fewer
    than others repeat in the second output.
    """

    weights: Tensor

    def __init__(
        self,
        manifest: BundleManifest,
        networks: list[tuple[BundledNetwork, Classifier]],
        configs: Mapping[str, Any],
        model: EnsembleModel,
    ) -> None:
        """Builds the network from a bundle's parts.

        Args:
            manifest: of the bundle.
            networks: all of its networks.
            configs: feature set -> its config.
            model: the fitted ensemble.

        Raises:
            UserError: a part of the bundle cannot be exported.
        """
        super().__init__()
        refuse_unexportable(manifest, configs)
        self.sample_rate = int(next(iter(configs.values())).sample_rate)
        self.feature_networks = nn.ModuleDict(
            {name: load_feature_set(name).network(config) for name, config in configs.items()}
        )
        self.features = [network.features for network, _ in networks]
        self.track_networks = nn.ModuleList(_TrackNetwork(module) for _, module in networks)
        spaces = sorted({network.space for network, _ in networks})
        places: dict[int, list[int]] = {}  # of each member's networks, by space
        for i in sorted(range(len(networks)), key=lambda i: networks[i][0].space):
            places.setdefault(networks[i][0].member, []).append(i)
        members = range(len(manifest.members))
        # where a member has fewer seeds than another, its networks repeat, without weight
        self.order = [places[m][at % len(places[m])] for at in range(len(spaces)) for m in members]
        self.shape = (len(spaces), len(members), len(manifest.labels))
        counts = torch.tensor([len(places[m]) for m in members])
        counted = torch.arange(len(spaces)).unsqueeze(1) < counts  # (n_spaces, n_members)
        self.register_buffer("weights", (counted / counts).unsqueeze(2))
        self.combine = _ensemble(manifest.kind).network(model)
        self.temperature = float(manifest.temperature)
        self.multi_label = manifest.multi_label

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        features = {name: network(waveform) for name, network in self.feature_networks.items()}
        probas = [
            network(features[name])
            for name, network in zip(self.features, self.track_networks, strict=True)
        ]
        each = torch.stack([probas[i] for i in self.order]).reshape(self.shape)
        mean = (each * self.weights).sum(dim=0)
        if not self.multi_label:
            return self._calibrated(self.combine(mean)), each
        labels = [self.combine(torch.stack([1 - p, p], dim=1)) for p in mean.unbind(dim=1)]
        return torch.stack([self._calibrated(one)[1] for one in labels]), each

    def _calibrated(self, proba: Tensor) -> Tensor:
        """(n_classes,) at the temperature."""
        logs = proba.clamp(min=CALIBRATION_PROBA_FLOOR).log()
        return (logs / self.temperature).softmax(dim=0)


class _TrackNetwork(nn.Module):
    """One network's prediction for a track: the mean over windows, as in `training.predict`."""

    pad: Tensor

    def __init__(self, module: Classifier) -> None:
        super().__init__()
        self.module = module
        self.n_channels, self.n_bins, self.n_frames = module.input_shape
        self.n_windows = module.train_config.n_windows
        self.center = module.train_config.center
        self.register_buffer("pad", module.mean.flatten().clone())

    def forward(self, frames: Tensor) -> Tensor:
        """(n_frames, n_values) of a whole track -> (n_classes,)."""
        length = torch.ones_like(frames[:, 0], dtype=torch.int64).sum()
        if self.center:
            frames = frames - frames.mean(dim=0, keepdim=True)
        place = self._starts(length).unsqueeze(1) + torch.arange(self.n_frames)
        inside = (place >= 0) & (place < length)
        place = torch.minimum(place.clamp(min=0), length - 1)
        x = frames.index_select(0, place.reshape(-1)).reshape(-1, self.n_frames, frames.shape[1])
        x = torch.where(inside.unsqueeze(2), x, self.pad)
        x = x.reshape(-1, self.n_frames, self.n_channels, self.n_bins).permute(0, 2, 3, 1)
        x = (x - self.module.mean) / self.module.std
        logits: Tensor = self.module.network.head(self.module.network.embed(x))
        return self.module.probabilities(logits).mean(dim=0)

    def _starts(self, length: Tensor) -> Tensor:
        """(n_windows,) first frame of each window, as in `lightning_models.data.windows`."""
        wanted = (length.double() / self.n_frames - NEGLIGIBLE_SHARE).ceil().long()
        count = wanted.clamp(1, self.n_windows)
        nth = torch.arange(self.n_windows)
        nth = nth[nth < count].double()
        last = (count - 1).double()
        spread = torch.where(last > 0, nth / last.clamp(min=1), torch.full_like(nth, 0.5))
        return ((length - self.n_frames).double() * spread).floor().long()


def refuse_unexportable(manifest: BundleManifest, configs: Mapping[str, Any]) -> None:
    """Refuses a bundle that cannot be exported as one network.

    Raises:
        UserError: names all parts that cannot be exported, and what to do.
    """
    problems = [
        f"feature set '{name}': {getattr(found, 'NO_NETWORK', 'it offers no module')}"
        for name, found in ((name, load_feature_set(name)) for name in configs)
        if not hasattr(found, "network")
    ]
    if manifest.baselines:
        names = ", ".join(manifest.members[one.member] for one in manifest.baselines)
        problems.append(
            f"baselines {names}: they are not networks (chorale ensemble STUDY --baselines none "
            f"makes an ensemble without them)"
        )
    if not hasattr(_ensemble(manifest.kind), "network"):
        able = [
            name for name in plugins.plugin_names(ensembles) if hasattr(_ensemble(name), "network")
        ]
        problems.append(
            f"ensemble '{manifest.kind}': it is implemented in numpy only (those that can be "
            f"exported are {', '.join(able)}; chorale ensemble STUDY --kind soft_vote makes one)"
        )
    rates = {int(config.sample_rate) for config in configs.values()}
    if len(rates) > 1:
        problems.append(
            f"its feature sets have different sample rates, {', '.join(map(str, sorted(rates)))} Hz"
        )
    if problems:
        raise UserError(
            f"the bundle of study '{manifest.study}' cannot be exported to ONNX: "
            f"{'; '.join(problems)}; chorale predict uses it as it is"
        )


def _ensemble(kind: str) -> ModuleType:
    return plugins.load_plugin(ensembles, kind, kind="ensemble")
