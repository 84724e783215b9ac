"""A bundle as one network: from a waveform to calibrated probabilities, in tensors alone.

It says what `search.bundle.predictor.Predictor` says; `search.champion.export.onnx_file` exports
it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chorale.datasets.errors import UserError
from chorale.lightning_models.data.windows import NEGLIGIBLE
from chorale.lightning_models.training.classifier import Classifier
from chorale.search.bundle.bundle import Manifest, Network
from chorale.search.champion.export.feature_networks import CANNOT, HEARING
from chorale.search.combining.base import SMALLEST_PROBA, Model
from chorale.search.statistics.calibration import SMALLEST

Combine = Callable[[Model], nn.Module]


class Whole(nn.Module):
    """(n_samples,) at `sample_rate` Hz -> (n_classes,) and (n_spaces, n_members, n_classes).

    The first are the ensemble's calibrated probabilities, the second what each network said.
    """

    def __init__(
        self,
        manifest: Manifest,
        networks: list[tuple[Network, Classifier]],
        configs: Mapping[str, Any],
        model: Model,
    ) -> None:
        """Puts the parts together.

        Args:
            manifest: of the bundle.
            networks: every one of it.
            configs: feature set -> its config.
            model: the fitted ensemble.

        Raises:
            UserError: a part of it has no twin in tensors.
        """
        super().__init__()
        refuse_without_twin(manifest, configs)
        self.sample_rate = int(next(iter(configs.values())).sample_rate)
        self.ears = nn.ModuleDict({name: HEARING[name](c) for name, c in configs.items()})
        self.features = [network.features for network, _ in networks]
        self.judges = nn.ModuleList(_Judge(module) for _, module in networks)
        spaces = sorted({network.space for network, _ in networks})
        places = {(n.space, n.member): i for i, (n, _) in enumerate(networks)}
        members = range(len(manifest.members))
        self.order = [places[space, member] for space in spaces for member in members]
        self.shape = (len(spaces), len(members), len(manifest.labels))
        self.combine = COMBINE[manifest.kind](model)
        self.temperature = float(manifest.temperature)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        heard = {name: ear(waveform) for name, ear in self.ears.items()}
        said = [judge(heard[name]) for name, judge in zip(self.features, self.judges, strict=True)]
        each = torch.stack([said[i] for i in self.order]).reshape(self.shape)
        together = self.combine(each.mean(dim=0))
        logs = together.clamp(min=SMALLEST).log()
        return (logs / self.temperature).softmax(dim=0), each


class _Judge(nn.Module):
    """The prediction of one network for a track, as `training.predict`: the mean over windows."""

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
        return logits.softmax(dim=1).mean(dim=0)

    def _starts(self, length: Tensor) -> Tensor:
        """(n_windows,): where they begin, as `lightning_models.data.windows`."""
        wanted = (length.double() / self.n_frames - NEGLIGIBLE).ceil().long()
        count = wanted.clamp(1, self.n_windows)
        nth = torch.arange(self.n_windows)
        nth = nth[nth < count].double()
        last = (count - 1).double()
        spread = torch.where(last > 0, nth / last.clamp(min=1), torch.full_like(nth, 0.5))
        return ((length - self.n_frames).double() * spread).floor().long()


class _Weighted(nn.Module):
    """The weighted mean: best single, soft, weighted and greedy votes."""

    weights: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        shares = model.weights / model.weights.sum()
        self.register_buffer("weights", torch.from_numpy(shares.astype(np.float32)))

    def forward(self, proba: Tensor) -> Tensor:
        """(n_members, n_classes) -> (n_classes,)."""
        return torch.matmul(self.weights, proba)


class _Stacked(nn.Module):
    """See `search.ensembles.stacking`."""

    slopes: Tensor
    intercepts: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        for name in ("slopes", "intercepts"):
            values = np.asarray(model.arrays[name], np.float32)
            self.register_buffer(name, torch.from_numpy(values))

    def forward(self, proba: Tensor) -> Tensor:
        """(n_members, n_classes) -> (n_classes,)."""
        logs = proba.clamp(min=SMALLEST_PROBA).log()
        return ((logs * self.slopes).sum(dim=0) + self.intercepts).softmax(dim=0)


COMBINE: Mapping[str, Combine] = {
    "best_single": _Weighted,
    "soft_vote": _Weighted,
    "weighted_vote": _Weighted,
    "greedy": _Weighted,
    "stacking": _Stacked,
}
"""Ensemble -> what makes its network of the fitted one."""


def refuse_without_twin(manifest: Manifest, configs: Mapping[str, Any]) -> None:
    """Refuses a bundle that cannot become one network.

    Raises:
        UserError: it says which part, and what to do.
    """
    lacking = [
        f"feature set '{name}': {CANNOT.get(name, 'it has no twin in tensors')}"
        for name in configs
        if name not in HEARING
    ]
    if manifest.baselines:
        names = ", ".join(manifest.members[one.member] for one in manifest.baselines)
        lacking.append(
            f"baselines {names}: they are no networks (chorale ensemble STUDY --baselines none "
            f"makes an ensemble without them)"
        )
    if manifest.kind not in COMBINE:
        lacking.append(
            f"ensemble '{manifest.kind}': it is computed with numpy alone (those that can be "
            f"exported are {', '.join(COMBINE)}; chorale ensemble STUDY --kind soft_vote makes one)"
        )
    rates = {int(config.sample_rate) for config in configs.values()}
    if len(rates) > 1:
        lacking.append(
            f"its feature sets hear at different rates, {', '.join(map(str, sorted(rates)))} Hz"
        )
    if lacking:
        raise UserError(
            f"the bundle of study '{manifest.study}' cannot be exported to ONNX: "
            f"{'; '.join(lacking)}; chorale predict uses it as it is"
        )
