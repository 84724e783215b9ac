"""Simulated predictions of several labels with known truth: groups that are alike, rare labels.

A label is present where a latent sum is high: what the tracks of a group have in common, what the
labels of a track have in common, and the track's own. A score is the label times the skill of the
model, and errors of the label in a group, of the label on a track, and of the model. So tracks of a
group are correlated in labels and in errors, and two models err on the same tracks.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from chorale.lightning_models.multi_label_metrics import mean_average_precision
from chorale.search.statistics.conformal import covers, fit_conformal
from chorale.search.statistics.multi_label_scores import map_difference, map_interval
from chorale.search.statistics.thresholds import fit_thresholds, labels_above

Array = np.ndarray


@dataclass(frozen=True)
class LabelSetting:
    """Tracks of `n_groups` groups of about ten, with `n_labels` labels of frequencies 0.05 to 0.4.

    `icc` is the share of a group in the variance of the latent sums of labels and in that of the
    errors. `skill` is the mean score of a track with a label above that of one without, in standard
    deviations of the errors.
    """

    n_groups: int
    n_labels: int = 6
    icc: float = 0.2
    skill: float = 2.0
    uneven: bool = True

    @property
    def frequencies(self) -> Array:
        """(n_labels,) the share of tracks with each label."""
        return np.linspace(0.05, 0.4, self.n_labels)


@dataclass(frozen=True)
class LabelSample:
    """Tracks: labels (n, n_labels) of 0 and 1, groups (n,), and errors that all models share."""

    setting: LabelSetting
    labels: Array
    groups: Array
    errors: Array

    def labelled(self) -> "LabelSample":
        """The tracks with at least one label."""
        has = self.labels.any(axis=1)
        groups = np.unique(self.groups[has], return_inverse=True)[1]
        return LabelSample(self.setting, self.labels[has], groups, self.errors[has])

    def noise(self, rng: np.random.Generator, rows: Array | slice = slice(None)) -> Array:
        """Standard normal errors of `rows` (n, n_labels), correlated within groups."""
        return _clustered(self.groups[rows], self.setting, rng)

    def model(self, skill: float, rng: np.random.Generator) -> Array:
        """A model's probabilities (n, n_labels), calibrated for labels of a frequency of one half.

        A quarter of the variance of its errors is its own.
        """
        own = self.errors * np.sqrt(0.75) + 0.5 * self.noise(rng)
        score = skill * (skill * (self.labels - 0.5) + own)
        return np.asarray(1 / (1 + np.exp(-score)))


def draw(setting: LabelSetting, rng: np.random.Generator, *, n_groups: int = 0) -> LabelSample:
    """Draws tracks of the setting, of `n_groups` groups where given."""
    n_groups = n_groups or setting.n_groups
    sizes = np.full(n_groups, 10)
    if setting.uneven:
        sizes = np.maximum(1, rng.lognormal(np.log(10) - 0.32, 0.8, n_groups)).astype(int)
    groups = np.repeat(np.arange(n_groups), sizes)
    together = 0.3 * rng.standard_normal((len(groups), 1))
    latent = together + np.sqrt(0.91) * _clustered(groups, setting, rng)
    labels = (latent < norm.ppf(setting.frequencies)).astype(np.uint8)
    return LabelSample(setting, labels, groups, _clustered(groups, setting, rng))


def _clustered(groups: Array, setting: LabelSetting, rng: np.random.Generator) -> Array:
    """Standard normal values (n, n_labels) with the setting's correlation within groups."""
    of_group = rng.standard_normal((int(groups.max()) + 1, setting.n_labels))[groups]
    own = rng.standard_normal((len(groups), setting.n_labels))
    return np.asarray(np.sqrt(setting.icc) * of_group + np.sqrt(1 - setting.icc) * own)


def map_coverage(
    setting: LabelSetting, *, n_sets: int, seed: int, n_expected: int = 4
) -> dict[str, float]:
    """The share of test sets whose interval holds the mAP that such sets have on average.

    `interval` and `difference` (of two models, the second with 0.8 times the skill) with their mean
    `width` and `difference_width`; `mAP` is that average, over `n_expected` times as many sets.
    """
    rng = np.random.default_rng(seed)
    ends, values = [], []
    for i in range(n_sets * n_expected):
        sample = draw(setting, rng)
        first, second = (sample.model(setting.skill * times, rng) for times in (1.0, 0.8))
        labels, groups = sample.labels, sample.groups
        value = mean_average_precision(first, labels)
        values.append((value, value - mean_average_precision(second, labels)))
        if i < n_sets and labels.any():
            interval = map_interval(value, first, labels, groups)
            ends.append((interval, map_difference(first, second, labels, groups)[1]))
    expected = np.mean(values, axis=0)
    limits = np.array(ends)  # (n_sets, 2, 2)
    inside = ((limits[:, :, 0] <= expected) & (expected <= limits[:, :, 1])).mean(axis=0)
    widths = (limits[:, :, 1] - limits[:, :, 0]).mean(axis=0)
    return {
        "interval": float(inside[0]),
        "width": float(widths[0]),
        "difference": float(inside[1]),
        "difference_width": float(widths[1]),
        "mAP": float(expected[0]),
    }


def set_coverage(
    setting: LabelSetting, coverage: float, *, n_sets: int, seed: int
) -> tuple[float, float, float]:
    """The share of a new track's labels that a conformal set holds, its standard error, its size.

    The mean over `n_sets` calibration sets, each with new tracks of 50 groups, of equal weight.
    Tracks without a label, of which no set misses any, are left out.
    """
    rng = np.random.default_rng(seed)
    shares, sizes = [], []
    for _ in range(n_sets):
        known, new = draw(setting, rng).labelled(), draw(setting, rng, n_groups=50).labelled()
        fitted = fit_conformal(
            known.model(setting.skill, rng), known.labels, known.groups, coverage=coverage
        )
        sets = fitted.sets(new.model(setting.skill, rng))
        held = covers(sets, new.labels)
        shares.append(np.mean([held[new.groups == one].mean() for one in np.unique(new.groups)]))
        sizes.append(sets.sum(axis=1).mean())
    error = np.std(shares) / np.sqrt(n_sets)
    return float(np.mean(shares)), float(error), float(np.mean(sizes))


def threshold_gains(setting: LabelSetting, *, n_sets: int, seed: int) -> dict[str, Array]:
    """The macro-F1 (n_sets,) on new rows of thresholds: of each label, 0.5, and a common one."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"each": [], "half": [], "common": []}
    for _ in range(n_sets):
        known, new = draw(setting, rng), draw(setting, rng, n_groups=100)
        proba, fresh = known.model(setting.skill, rng), new.model(setting.skill, rng)
        common = fit_thresholds(proba.reshape(-1, 1), known.labels.reshape(-1, 1))[0]
        ways = {"each": fit_thresholds(proba, known.labels), "half": 0.5, "common": common}
        for name, threshold in ways.items():
            at = np.broadcast_to(threshold, (setting.n_labels,))
            found[name].append(_macro_f1(labels_above(fresh, at), new.labels))
    return {name: np.array(values) for name, values in found.items()}


def _macro_f1(chosen: Array, labels: Array) -> float:
    hits = (chosen & (labels > 0)).sum(axis=0)
    return float(np.mean(2 * hits / np.maximum(chosen.sum(axis=0) + labels.sum(axis=0), 1)))
