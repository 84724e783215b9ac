"""GPU shares: the part of a GPU that each training run gets, by the measured peak memory of others.

`Sized` wraps a stage's trials: it sets each trial's resources, and records the peak of each that
ends. The packing policy is in `cluster.packing`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chorale.cluster.base import Failure, Outcome, Resources, Trials, TrialSpec
from chorale.cluster.packing import gpu_share
from chorale.datasets.features import layout_of
from chorale.search.config.space import Candidate
from chorale.search.ledger.ledger import Row

TRAIN_SIZES = ("batch_size", "crop_s")


@dataclass(frozen=True)
class Shape:
    """What the peak memory of a training run depends on.

    Two runs of one `kind` differ in `sizes` alone: widths, numbers of layers, rows of a batch.
    """

    kind: tuple[Any, ...]
    sizes: Mapping[str, float]

    @classmethod
    def of(
        cls,
        architecture: str,
        features: str,
        config: Mapping[str, Any],
        train: Mapping[str, Any],
    ) -> "Shape":
        """The shape of a run with these configs; fractions such as dropout do not count."""
        named = {k: v for k, v in sorted(config.items()) if isinstance(v, bool | str)}
        sizes = {
            k: float(v) for k, v in config.items() if isinstance(v, int) and not isinstance(v, bool)
        }
        sizes |= {f"train.{k}": float(train[k]) for k in TRAIN_SIZES if k in train}
        return cls((architecture, features, *named.items()), sizes)


class Peaks:
    """Measured peak memory by shape, and the bound that it gives for other sizes."""

    def __init__(self) -> None:
        self.device_bytes: int | None = None
        """the memory of the smallest GPU that was seen, in bytes"""
        self._seen: dict[tuple[Any, ...], list[tuple[Mapping[str, float], int]]] = {}

    def add(self, shape: Shape, peak_bytes: int, device_bytes: int) -> None:
        """Records a run that held `peak_bytes` on a GPU of `device_bytes`."""
        self.device_bytes = min(device_bytes, self.device_bytes or device_bytes)
        self._seen.setdefault(shape.kind, []).append((shape.sizes, peak_bytes))

    def need_bytes(self, shape: Shape) -> int | None:
        """An upper bound for a run of this shape, in bytes; None before one of its kind was seen.

        Memory is taken to grow in proportion to each size, and never to shrink below a measured
        run's. Of several measured runs the one with the lowest bound counts.
        """
        seen = self._seen.get(shape.kind)
        if not seen:
            return None
        return min(int(peak * _growth(sizes, shape.sizes)) for sizes, peak in seen)


def _growth(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    growth = 1.0
    for name, size in after.items():
        if (known := before.get(name, size)) > 0:
            growth *= max(1.0, size / known)
    return growth


class Sized:
    """A `Trials` wrapper that sets each trial's resources; all else is passed through."""

    def __init__(self, trials: Trials, whole: Resources, peaks: Peaks) -> None:
        """`whole` is what a trial gets while nothing is known of its kind."""
        self._trials, self._whole, self._peaks = trials, whole, peaks
        self.done, self.report = trials.done, trials.report
        self._shapes: dict[int, Shape] = {}
        self._too_large: set[int] = set()

    def ask(self, n: int) -> list[TrialSpec]:
        """The next trials, each with its resources."""
        return [self._sized(spec) for spec in self._trials.ask(n)]

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        """Records a trial's peak; one that ran out of memory gets a GPU of its own when retried."""
        shape = self._shapes.pop(trial_id)
        if outcome.failure is Failure.OUT_OF_MEMORY:
            self._too_large.add(trial_id)
        if outcome.value is not None and outcome.value.device_bytes is not None:
            self._peaks.add(shape, outcome.value.peak_bytes, outcome.value.device_bytes)
        self._trials.tell(trial_id, outcome)

    def _sized(self, spec: TrialSpec) -> TrialSpec:
        plan = spec.payload["plan"]
        shape = Shape.of(plan.architecture, plan.features, plan.config, plan.train)
        self._shapes[spec.trial_id] = shape
        return replace(spec, resources=self._resources(spec.trial_id, shape))

    def _resources(self, trial_id: int, shape: Shape) -> Resources:
        if layout_of(shape.kind[1]) == "table":  # too small to gain from a GPU
            return Resources(self._whole.cpus)
        if trial_id in self._too_large:
            return self._whole
        share = gpu_share(self._peaks.need_bytes(shape), self._peaks.device_bytes)
        return replace(self._whole, gpus=share)


def recorded_peaks(
    rows: Iterable[Row], config_of: Callable[[Candidate], Mapping[str, Any]]
) -> Peaks:
    """The peaks that earlier runs of this study measured.

    `config_of` gives the whole config of a candidate, as it is in the plan of a run: the ledger has
    the values alone that were searched.
    """
    peaks = Peaks()
    for row in rows:
        facts = row.facts
        if "architecture" in facts and facts.get("device_bytes"):
            one = Candidate(
                facts["architecture"], facts["features"], facts["config"], facts["train"]
            )
            shape = Shape.of(one.architecture, one.features, config_of(one), one.train)
            peaks.add(shape, facts["peak_bytes"], facts["device_bytes"])
    return peaks
