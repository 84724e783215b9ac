"""How `chorale predict` says what it found: lines for people, JSON lines, or CSV."""

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from chorale.datasets.audio import AudioError
from chorale.search.bundle.answer import guess_json
from chorale.search.bundle.predictor import Guess, Segment

NONE_OF_THESE = "may be none of these"


class Writer(Protocol):
    """What is told of one file after the other."""

    def begin(self) -> None:
        """Before the first file."""
        ...

    def good(self, file: str, guess: Guess, segments: Sequence[Segment]) -> None:
        """A file, and its segments where they were asked for."""
        ...

    def bad(self, file: str, error: AudioError) -> None:
        """A file that cannot be read."""
        ...


class Lines:
    """For people: the most probable classes, then the set where it holds several."""

    def __init__(self, labels: Sequence[str], *, top: int) -> None:
        self._labels, self._top = labels, top

    def begin(self) -> None:
        """Nothing."""

    def good(self, file: str, guess: Guess, segments: Sequence[Segment]) -> None:
        """One line, and one a segment."""
        print(f"{file}: {self._said(guess)}")
        for one in segments:
            print(f"  {one.start_s:7.1f} - {one.end_s:.1f} s  {self._said(one.guess)}")

    def bad(self, file: str, error: AudioError) -> None:
        """Stderr has told it."""

    def _said(self, guess: Guess) -> str:
        order = guess.proba.argsort()[::-1][: self._top]
        said = ", ".join(f"{self._labels[i]} {guess.proba[i]:.1%}" for i in order)
        inside = [self._labels[i] for i in guess.proba.argsort()[::-1] if guess.inside[i]]
        if len(inside) > 1:
            said += f"; one of {', '.join(inside)}"
        return said + (f"; {NONE_OF_THESE}" if guess.strange else "")


class Json:
    """One object a line."""

    def __init__(self, labels: Sequence[str], *, top: int) -> None:
        self._labels, self._top = labels, top

    def begin(self) -> None:
        """Nothing."""

    def good(self, file: str, guess: Guess, segments: Sequence[Segment]) -> None:
        """All that is known."""
        said: dict[str, Any] = {"file": file, **guess_json(guess, self._labels, top=self._top)}
        if segments:
            said["timeline"] = [
                {"start_s": one.start_s, "end_s": one.end_s}
                | guess_json(one.guess, self._labels, top=self._top)
                for one in segments
            ]
        print(json.dumps(said, ensure_ascii=False))

    def bad(self, file: str, error: AudioError) -> None:
        """Why, so that a script that reads nothing else knows it."""
        said = {"file": file, "error": error.problem, "detail": error.detail}
        print(json.dumps(said, ensure_ascii=False))


class Csv:
    """A row a file; with a timeline, a row a segment."""

    def __init__(self, labels: Sequence[str], *, top: int) -> None:
        del top  # every class has a column
        self._labels = labels
        self._rows = csv.writer(sys.stdout)

    def begin(self) -> None:
        """The header."""
        classes = [f"p({name})" for name in self._labels]
        self._rows.writerow(
            ["file", "start_s", "end_s", "label", "set", "none_of_these", "error", *classes]
        )

    def good(self, file: str, guess: Guess, segments: Sequence[Segment]) -> None:
        """Its row or rows."""
        if not segments:
            self._row([file, "", ""], guess)
        for one in segments:
            self._row([file, f"{one.start_s:.3f}", f"{one.end_s:.3f}"], one.guess)

    def bad(self, file: str, error: AudioError) -> None:
        """A row without probabilities."""
        why = f"{error.problem}: {error.detail}"
        self._rows.writerow([file, "", "", "", "", "", why, *("" for _ in self._labels)])

    def _row(self, where: Sequence[str], guess: Guess) -> None:
        inside = ";".join(n for n, yes in zip(self._labels, guess.inside, strict=True) if yes)
        said = [self._labels[guess.best], inside, str(guess.strange).lower(), ""]
        self._rows.writerow([*where, *said, *(f"{p:.6f}" for p in guess.proba)])


WRITERS: Mapping[str, Callable[..., Writer]] = {"text": Lines, "json": Json, "csv": Csv}
"""Kind -> its writer, made with the labels and how many classes to name."""
