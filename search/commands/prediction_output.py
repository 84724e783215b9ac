"""Output formats of `chorale predict`: text, JSON lines, or CSV."""

import csv
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.audio import AudioError
from chorale.datasets.label_sets import LABEL_SEPARATOR
from chorale.search.bundle.prediction_json import prediction_json
from chorale.search.bundle.predictor import Segment, TrackPrediction

OUT_OF_DISTRIBUTION_NOTE = "out of distribution, may be none of these"
UNCERTAIN_NOTE = "out of distribution"
"""The same of several labels: none of them is an answer of its own."""
NO_LABEL = "no label"


class PredictionWriter(Protocol):
    """Prints the predictions of one file after the other."""

    def begin(self) -> None:
        """Prints what comes before the first file."""
        ...

    def good(self, file: str, prediction: TrackPrediction, segments: Sequence[Segment]) -> None:
        """Prints a file's prediction, and those of its segments, if any."""
        ...

    def bad(self, file: str, error: AudioError) -> None:
        """Prints the error of a file that cannot be read."""
        ...


class TextWriter:
    """Text: the most probable classes, then the conformal set where it holds several classes.

    Of several labels: those that reach their thresholds, the others among the most probable, and
    the conformal set where it holds other labels than the predicted ones.
    """

    def __init__(self, labels: Sequence[str], *, top: int, multi_label: bool = False) -> None:
        del multi_label  # the prediction shows it
        self._labels, self._top = labels, top

    def begin(self) -> None:
        """Prints nothing."""

    def good(self, file: str, prediction: TrackPrediction, segments: Sequence[Segment]) -> None:
        """Prints one line, and one per segment."""
        print(f"{file}: {self._text(prediction)}")
        for one in segments:
            print(f"  {one.start_s:7.1f} - {one.end_s:.1f} s  {self._text(one.prediction)}")

    def bad(self, file: str, error: AudioError) -> None:
        """Prints nothing: the error is on standard error."""

    def _text(self, prediction: TrackPrediction) -> str:
        if prediction.predicted is None:
            return self._class_text(prediction)
        return self._labels_text(prediction, prediction.predicted)

    def _class_text(self, prediction: TrackPrediction) -> str:
        text = self._listed(prediction, prediction.order[: self._top])
        inside = [self._labels[i] for i in prediction.order if prediction.conformal_set[i]]
        if len(inside) > 1:
            text += f"; one of {', '.join(inside)}"
        return text + (f"; {OUT_OF_DISTRIBUTION_NOTE}" if prediction.out_of_distribution else "")

    def _labels_text(self, prediction: TrackPrediction, chosen: NDArray[np.bool_]) -> str:
        order = prediction.order
        text = self._listed(prediction, order[chosen[order]]) or NO_LABEL
        below = [i for i in order[: self._top] if not chosen[i]]
        if below:
            text += f"; below the threshold: {self._listed(prediction, below)}"
        inside = [self._labels[i] for i in order if prediction.conformal_set[i]]
        if (prediction.conformal_set != chosen).any():
            text += f"; conformal set: {', '.join(inside) or 'empty'}"
        return text + (f"; {UNCERTAIN_NOTE}" if prediction.out_of_distribution else "")

    def _listed(self, prediction: TrackPrediction, indices: Iterable[int]) -> str:
        return ", ".join(f"{self._labels[i]} {prediction.proba[i]:.1%}" for i in indices)


class JsonWriter:
    """JSON lines: one object per file."""

    def __init__(self, labels: Sequence[str], *, top: int, multi_label: bool = False) -> None:
        del multi_label  # the prediction shows it
        self._labels, self._top = labels, top

    def begin(self) -> None:
        """Prints nothing."""

    def good(self, file: str, prediction: TrackPrediction, segments: Sequence[Segment]) -> None:
        """Prints every field of the prediction."""
        content: dict[str, Any] = {
            "file": file,
            **prediction_json(prediction, self._labels, top=self._top),
        }
        if segments:
            content["timeline"] = [
                {"start_s": one.start_s, "end_s": one.end_s}
                | prediction_json(one.prediction, self._labels, top=self._top)
                for one in segments
            ]
        print(json.dumps(content, ensure_ascii=False))

    def bad(self, file: str, error: AudioError) -> None:
        """Prints the error, for scripts that read standard output only."""
        content = {"file": file, "error": error.problem, "detail": error.detail}
        print(json.dumps(content, ensure_ascii=False))


class CsvWriter:
    """CSV: a row per file; with a timeline, a row per segment."""

    def __init__(self, labels: Sequence[str], *, top: int, multi_label: bool = False) -> None:
        del top  # every class has a column
        self._labels, self._multi_label = labels, multi_label
        self._rows = csv.writer(sys.stdout)

    def begin(self) -> None:
        """Prints the header."""
        classes = [f"p({name})" for name in self._labels]
        named, flag = ("label", "none_of_these")
        if self._multi_label:
            named, flag = ("labels", "out_of_distribution")
        self._rows.writerow(["file", "start_s", "end_s", named, "set", flag, "error", *classes])

    def good(self, file: str, prediction: TrackPrediction, segments: Sequence[Segment]) -> None:
        """Prints the file's row or rows."""
        if not segments:
            self._row([file, "", ""], prediction)
        for one in segments:
            self._row([file, f"{one.start_s:.3f}", f"{one.end_s:.3f}"], one.prediction)

    def bad(self, file: str, error: AudioError) -> None:
        """Prints a row with the error and without probabilities."""
        message = f"{error.problem}: {error.detail}"
        self._rows.writerow([file, "", "", "", "", "", message, *("" for _ in self._labels)])

    def _row(self, where: Sequence[str], prediction: TrackPrediction) -> None:
        inside = self._joined(prediction.conformal_set)
        outside = str(prediction.out_of_distribution).lower()
        chosen = prediction.predicted
        named = self._labels[prediction.best] if chosen is None else self._joined(chosen)
        cells = [named, inside, outside, ""]
        self._rows.writerow([*where, *cells, *(f"{p:.6f}" for p in prediction.proba)])

    def _joined(self, mask: NDArray[np.bool_]) -> str:
        return LABEL_SEPARATOR.join(n for n, yes in zip(self._labels, mask, strict=True) if yes)


PREDICTION_WRITERS: Mapping[str, Callable[..., PredictionWriter]] = {
    "text": TextWriter,
    "json": JsonWriter,
    "csv": CsvWriter,
}
"""Format -> the writer's class, called with the labels and the number of classes to print, and
whether a recording may have several labels."""
