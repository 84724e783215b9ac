"""The accuracy of a bundle on the test tracks under each recording condition.

Every condition is compared with the recordings as they are: the same tracks, paired, with 95 %
intervals by group. Nothing is trained.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets import audio
from chorale.datasets.recording.conditions import Condition
from chorale.datasets.seeds import Purpose, random_generator
from chorale.search.bundle.predictor import Predictor, TrackPrediction
from chorale.search.statistics.arrays import Groups, Labels
from chorale.search.statistics.main_score import main_score_of, metric_name
from chorale.search.statistics.scores import json_scores, paired_difference

AS_IT_IS = "as_it_is"
"""The recordings without a change."""


@dataclass(frozen=True)
class RobustnessRow:
    """The scores under one condition.

    `difference` is the score minus that of the recordings as they are, with `ci95`, its paired
    95 % interval. `out_of_distribution` is the share of tracks that are flagged, `covered` that of
    tracks whose conformal set has the true class (None where tracks have several labels),
    `set_size` the mean number of classes in it. `n_unchanged` recordings are the same as before, as
    those that are no longer than what they are cut to.
    """

    name: str
    title: str
    scores: Mapping[str, Any]
    difference: float
    ci95: tuple[float, float]
    out_of_distribution: float
    covered: float | None
    set_size: float
    n_unchanged: int

    @property
    def score(self) -> float:
        """The accuracy, or the mAP."""
        return main_score_of(self.scores)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "scores": dict(self.scores), "ci95": list(self.ci95)}


@dataclass(frozen=True)
class Robustness:
    """The rows, the first of the recordings as they are; the metric, and the stated coverage."""

    rows: Sequence[RobustnessRow]
    metric: str
    coverage: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        rows = [row.as_dict() for row in self.rows]
        return {"metric": self.metric, "coverage": self.coverage, "conditions": rows}

    def sentence(self) -> str:
        """The condition that costs most, and whether that is shown."""
        first, *others = self.rows
        worst = min(others, key=lambda row: row.difference, default=first)
        low, high = (100 * end for end in worst.ci95)
        shown = [row for row in others if row.ci95[1] < 0]
        count = f"{len(shown)} of {len(others)} conditions lower it by more than chance"
        return (
            f"Test {self.metric} {first.score:.1%} as recorded; {count}. The worst, {worst.title}: "
            f"{worst.score:.1%}, {100 * worst.difference:+.1f} points (95 % CI {low:+.1f} to "
            f"{high:+.1f})."
        )


def measure_robustness(
    predictor: Predictor,
    files: Sequence[Path],
    labels: Labels,
    groups: Groups,
    conditions: Mapping[str, Condition],
    *,
    seed: int = 0,
    show: Callable[[int], None] = lambda _: None,
) -> Robustness:
    """Predicts every file as it is and under each condition.

    Args:
        predictor: the bundle.
        files: audio files (n).
        labels: (n,) class indices in the order of the bundle's labels, or (n, n_classes).
        groups: (n,) clusters of correlated tracks.
        conditions: by name.
        seed: of noise and rooms.
        show: called with the number of files that are done.

    Raises:
        AudioError: a file cannot be read.
        UserError: a codec is not available.
    """
    found: dict[str, list[TrackPrediction]] = {AS_IT_IS: [], **{name: [] for name in conditions}}
    n_unchanged = dict.fromkeys(found, 0)
    for number, file in enumerate(files):
        waveform, rate = audio.load_audio(file)
        made = {AS_IT_IS: (waveform, rate)}
        for place, (name, condition) in enumerate(conditions.items()):
            rng = random_generator(seed, Purpose.RECORDING, number, place)
            made[name] = changed, _ = condition.change(waveform, rate, rng)
            n_unchanged[name] += np.array_equal(changed, waveform)
        # one after the other: a batch of long recordings would take much memory
        for name, recording in made.items():
            found[name].append(predictor.predict_waveform(*recording))
        show(number + 1)
    titles = {AS_IT_IS: "as recorded"} | {name: one.title for name, one in conditions.items()}
    clean = _proba(found[AS_IT_IS])
    rows = []
    for name, predictions in found.items():
        proba = _proba(predictions)
        difference, ci95 = paired_difference(proba, clean, labels, groups)
        sets = np.stack([one.conformal_set for one in predictions])
        rows.append(
            RobustnessRow(
                name=name,
                title=titles[name],
                scores=json_scores(proba, labels, groups),
                difference=difference,
                ci95=ci95,
                out_of_distribution=float(np.mean([p.out_of_distribution for p in predictions])),
                covered=None if labels.ndim == 2 else _covered(sets, labels),
                set_size=float(sets.sum(axis=1).mean()),
                n_unchanged=n_unchanged[name],
            )
        )
    return Robustness(rows, metric_name(rows[0].scores), predictor.bundle.manifest.coverage)


def _proba(predictions: Sequence[TrackPrediction]) -> NDArray[np.float64]:
    return np.stack([one.proba for one in predictions])


def _covered(sets: NDArray[np.bool_], labels: Labels) -> float:
    """The share of tracks whose set (n, n_classes) has the true class (n,)."""
    return float(sets[np.arange(len(labels)), labels].mean())
