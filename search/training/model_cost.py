"""The cost of a model by its parts, and hard limits on it: latency in ms, size in MB.

A worker measures each network before it is trained (`search.training.latency`), and does not train
one that exceeds the limit even alone. `search.study` passes by how much to the sampler, and
`search.evaluation.limited_members` combines only members whose sum keeps to the limit.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from chorale.search.config.schema import SweepConfig

HEADROOM = 0.9
"""The share of a limit that the sum of parts may take: a bundle also holds what combines them, and
when it is measured again the machine may be busier."""


@dataclass(frozen=True)
class NetworkCost:
    """The cost of one network on the feature set `features`.

    `features_ms` and `features_mb` are those of the feature set, which all networks on it share.
    Milliseconds are CPU time of one thread for a clip (`latency.CLIP_S`), or for a row of a table.
    """

    features: str
    features_ms: float
    network_ms: float
    features_mb: float
    network_mb: float

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> "NetworkCost | None":
        """The cost among the facts of a trial in the ledger; None where it was not measured."""
        return cls(**facts["cost"]) if "cost" in facts else None


@dataclass(frozen=True)
class ModelLimit:
    """The most that a model may cost; None for no limit.

    `n_networks` are those of the least model: a trial's network, once for each fold and seed.
    """

    latency_ms: float | None = None
    size_mb: float | None = None
    n_networks: int = 1

    @classmethod
    def of(cls, sweep: SweepConfig, n_folds: int) -> "ModelLimit | None":
        """The limit of a sweep, whose least model is one finalist; None where it has none."""
        limit = sweep.limit
        if not limit.is_set:
            return None
        return cls(limit.latency_ms, limit.size_mb, n_folds * sweep.finalists.n_seeds)

    def allows(self, parts: Iterable[tuple[NetworkCost, int]]) -> bool:
        """Whether a model of `parts`, each so many networks of a cost, keeps to the limit."""
        return all(excess <= 0 for excess in self._excesses(parts).values())

    def excesses(self, cost: NetworkCost) -> dict[str, float]:
        """By how much the least model with such a network exceeds what is limited, by name.

        The logarithm of the ratio to the limit: 0 or less where it is kept.
        """
        return self._excesses([(cost, self.n_networks)])

    def _excesses(self, parts: Iterable[tuple[NetworkCost, int]]) -> dict[str, float]:
        ms, mb = model_cost(parts)
        pairs = {"latency_ms": (ms, self.latency_ms), "size_mb": (mb, self.size_mb)}
        return {
            name: math.log(max(value, 1e-9) / (HEADROOM * limit))
            for name, (value, limit) in pairs.items()
            if limit is not None
        }

    def refusal(self, cost: NetworkCost) -> "Refusal | None":
        """The refusal of a network that exceeds the limit; None where it keeps to it."""
        names = [name for name, excess in self.excesses(cost).items() if excess > 0]
        if not names:
            return None
        ms, mb = model_cost([(cost, self.n_networks)])
        texts = {
            "latency_ms": f"{ms:.4g} ms where {self.latency_ms} are allowed",
            "size_mb": f"{mb:.4g} MB where {self.size_mb} are allowed",
        }
        networks = "1 network" if self.n_networks == 1 else f"{self.n_networks} networks"
        what = " and ".join(texts[name] for name in names)
        reason = f"over the limit: {networks} on {cost.features} would take {what}"
        return Refusal(f"{reason} ({HEADROOM:.0%} of it for the parts)", cost)


@dataclass(frozen=True)
class Refusal:
    """What a run returns whose network exceeds a limit: nothing was trained."""

    reason: str
    cost: NetworkCost

    def facts(self) -> dict[str, Any]:
        """The JSON-ready facts for the ledger."""
        return {"cost": asdict(self.cost)}


def model_cost(parts: Iterable[tuple[NetworkCost, int]]) -> tuple[float, float]:
    """Milliseconds and megabytes of a model; a feature set that several networks use counts once.

    Args:
        parts: the cost of a network, and how many such networks there are.
    """
    each = list(parts)
    shared = {cost.features: (cost.features_ms, cost.features_mb) for cost, _ in each}
    ms = sum(n * cost.network_ms for cost, n in each) + sum(one for one, _ in shared.values())
    mb = sum(n * cost.network_mb for cost, n in each) + sum(one for _, one in shared.values())
    return ms, mb
