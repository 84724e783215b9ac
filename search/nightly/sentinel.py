"""The sentinel: the champion's settings, trained again on tonight's data.

They have not changed, so where they do clearly worse than they did, the data has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from chorale.search import bank, finalists
from chorale.search.ledger.reader import LedgerReader
from chorale.search.nightly.earlier import Origin
from chorale.search.paths import StudyPaths
from chorale.search.plan import SEARCH_FOLD
from chorale.search.selection import group_error
from chorale.search.study import STAGE
from chorale.search.truth import Truth, read_truth

MUST_BE_SAME = ("features", "number of epochs", "train")
"""Where these are others, others settings were trained."""


@dataclass(frozen=True)
class Sentinel:
    """What the champion's settings reached `then` and reach `now`, on tracks held out from them.

    `moved` says that the fall is more than chance; `reason` is a sentence. `then` and `now` are
    None where nothing could be compared.
    """

    reason: str
    then: float | None = None
    now: float | None = None
    moved: bool = False


@dataclass(frozen=True)
class _Held:
    """Whether each track that was held out was named rightly, 0.0 or 1.0, and its group."""

    right: NDArray[np.float64]
    groups: NDArray[np.str_]

    @property
    def error(self) -> float:
        return group_error(self.right, self.groups)


def compare(
    origin: Origin | None,
    tonight: str,
    *,
    ledger: LedgerReader,
    paths: Mapping[str, StudyPaths],
    confidence: float,
) -> Sentinel:
    """Compares the sentinel of tonight's study with the trial that it is.

    What it reached then is of its retraining: that of its search trial was chosen for being high.

    Args:
        origin: the champion's best trial; None where there is none that is known.
        tonight: the name of tonight's study.
        ledger: knows both studies.
        paths: of both, by name.
        confidence: how sure it must be that it fell.
    """
    if origin is None:
        return Sentinel("no sentinel: there is no champion whose settings are known")
    before, after = ledger.fingerprint(origin.study), ledger.fingerprint(tonight)
    if differs := [key for key in MUST_BE_SAME if _plain(before, key) != _plain(after, key)]:
        return Sentinel(
            f"no sentinel: the champion was trained with another {', another '.join(differs)}"
        )
    number = next(
        (
            int(key)
            for key, row in ledger.rows(tonight, STAGE).items()
            if row.state == "COMPLETE"
            and str(row.facts.get("origin", "")).endswith(f"from {origin.source}")
        ),
        None,
    )
    if number is None:
        return Sentinel(f"no sentinel: {origin.source} was not trained again to its end")
    job = finalists.Job(origin.number, SEARCH_FOLD, 0)
    theirs = paths[origin.study].finalist(job.number, fold=job.fold, seed=job.seed).predictions
    then = _held(paths[origin.study], theirs)
    now = _held(paths[tonight], paths[tonight].trial(number).predictions)
    if then is None or now is None:
        return Sentinel(f"no sentinel: what {origin.source} reached is not kept any more")
    return judge(then, now, origin, confidence=confidence)


def judge(then: _Held, now: _Held, origin: Origin, *, confidence: float) -> Sentinel:
    """Whether a fall is more than chance, by the errors of both means, groups hanging together."""
    a, b = float(then.right.mean()), float(now.right.mean())
    allowed = float(norm.ppf(confidence)) * float(np.hypot(then.error, now.error))
    said = f"the champion's settings ({origin.source}) reached {a:.1%} and reach {b:.1%} tonight"
    if a - b > allowed:
        reason = (
            f"{said}: that is more than chance (up to {100 * allowed:.1f} points): the data moved"
        )
        return Sentinel(reason, a, b, moved=True)
    return Sentinel(f"{said}: within chance (up to {100 * allowed:.1f} points)", a, b)


def _held(paths: StudyPaths, file: Any) -> _Held | None:
    truth: Truth | None = read_truth(paths)
    if truth is None or not file.is_file():
        return None
    ids = truth.split.valid_ids(SEARCH_FOLD)
    said = bank.read(file, {"valid": ids}, split=truth.split.hash)["valid"].proba
    right = (said.argmax(axis=1) == truth.labels(ids)).astype(np.float64)
    return _Held(right, truth.groups(ids))


def _plain(fingerprint: Mapping[str, Any], key: str) -> Any:
    return fingerprint.get(key)
