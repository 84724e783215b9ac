"""Output formats of `chorale predict`: text, JSON lines, or CSV."""

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from chorale.datasets.audio import AudioError
from chorale.search.bundle.prediction_json import prediction_json
from chorale.search.bundle.predictor import Segment, TrackPrediction

OUT_OF_DISTRIBUTION_NOTE = "out of distribution, may be none of these"


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
    """Text: the most probable classes, then the conformal set where it holds several classes."""

    def __init__(self, labels: Sequence[str], *, top: int) -> None:
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
        order = prediction.proba.argsort()[::-1][: self._top]
        text = ", ".join(f"{self._labels[i]} {prediction.proba[i]:.1%}" for i in order)
        inside = [
            self._labels[i] for i in prediction.proba.argsort()[::-1] if prediction.conformal_set[i]
        ]
        if len(inside) > 1:
            text += f"; one of {', '.join(inside)}"
        return text + (f"; {OUT_OF_DISTRIBUTION_NOTE}" if prediction.out_of_distribution else "")


class JsonWriter:
    """JSON lines: one object per file."""

    def __init__(self, labels: Sequence[str], *, top: int) -> None:
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

    def __init__(self, labels: Sequence[str], *, top: int) -> None:
        del top  # every class has a column
        self._labels = labels
        self._rows = csv.writer(sys.stdout)

    def begin(self) -> None:
        """Prints the header."""
        classes = [f"p({name})" for name in self._labels]
        self._rows.writerow(
            ["file", "start_s", "end_s", "label", "set", "none_of_these", "error", *classes]
        )

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
        inside = ";".join(
            n for n, yes in zip(self._labels, prediction.conformal_set, strict=True) if yes
        )
        outside = str(prediction.out_of_distribution).lower()
        cells = [self._labels[prediction.best], inside, outside, ""]
        self._rows.writerow([*where, *cells, *(f"{p:.6f}" for p in prediction.proba)])


PREDICTION_WRITERS: Mapping[str, Callable[..., PredictionWriter]] = {
    "text": TextWriter,
    "json": JsonWriter,
    "csv": CsvWriter,
}
"""Format -> the writer's class, called with the labels and the number of classes to print."""
