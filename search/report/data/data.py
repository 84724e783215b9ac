"""Everything that the report shows of one study, in one frozen value: the ledger first, then files.

Nothing is trained here, and no test row is scored: what was said of the test set is read as it was
kept at the look.
"""

from chorale.search.ledger import stages
import csv
import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chorale.datasets.errors import UserError
from chorale.search.study import attempts
from chorale.search.report.data.architectures import Ability, abilities
from chorale.search.report.data.audio import Audio, audio_of, read_audio
from chorale.search.report.data.errors import Errors, errors
from chorale.search.report.data.hardest import Hard, hardest
from chorale.search.report.data.importance import Importance, importance
from chorale.search.report.data.trials import Trial, trials
from chorale.search.evaluation.headline import Headline, read_headline
from chorale.search.ledger.reader import LedgerReader, Row, StudyInfo
from chorale.search.paths import StudyPaths
from chorale.search.ledger.ground_truth import Truth, read_truth
from chorale.search.config.yaml_file import read_yaml

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz")


@dataclass(frozen=True)
class Gathered:
    """One study.

    `found` is what `report.json` says, None where nothing was scored yet; `is_stale` says that
    trials were added since. `logs` names the parameters that were searched on a logarithmic scale,
    `busy_s` maps a stage to the seconds of all its runs, `settings` is the resolved sweep file's
    text, and `is_archive` says that the dataset was given as one. Where a part is missing, `gaps`
    maps its name ("errors", "hardest", "audio", "audit") to a sentence that says why.
    """

    info: StudyInfo
    about: Mapping[str, Any]
    found: Mapping[str, Any] | None
    is_stale: bool
    trials: tuple[Trial, ...]
    n_running: int
    abilities: tuple[Ability, ...]
    failures: tuple[tuple[str, int], ...]
    importance: Importance
    logs: frozenset[str]
    errors: Errors | None
    hardest: tuple[tuple[Hard, Audio | None], ...]
    problems: tuple[Mapping[str, str], ...]
    busy_s: Mapping[str, float]
    command: str
    settings: str
    is_archive: bool
    gaps: Mapping[str, str] = field(default_factory=dict)

    @property
    def objective(self) -> str:
        """What was made large."""
        return str(self.about.get("objective") or "accuracy")

    @property
    def second(self) -> str:
        """What was made small besides, or "none"."""
        return str(self.about.get("second") or "none")


def gather(
    ledger: LedgerReader,
    info: StudyInfo,
    about: Mapping[str, Any],
    paths: StudyPaths,
    *,
    found: Mapping[str, Any] | None,
) -> Gathered:
    """Reads it all; what is missing leaves a gap with its reason.

    Args:
        ledger: knows the trials.
        info: the study, as the ledger knows it.
        about: its dataset, objectives and budget.
        paths: its files.
        found: what `report.json` holds, if it is there.
    """
    name = info.name
    objective = str(about.get("objective") or "accuracy")
    rows, finals = ledger.rows(name, "search"), ledger.rows(name, "finalists")
    every = trials(
        ledger, name, paths, objective=objective, second=str(about.get("second") or "none")
    )
    ranges = ledger.distributions(name)
    gaps: dict[str, str] = {}
    truth = _truth(paths, gaps)
    reasons = Counter(row.reason for row in rows.values() if row.state == "FAIL")
    return Gathered(
        info=info,
        about=about,
        found=found,
        is_stale=found is not None and _n_trials(found, len(rows)) != len(rows),
        trials=every,
        n_running=ledger.n_running(name),
        abilities=abilities(every),
        failures=tuple(reasons.most_common()),
        importance=importance(rows, ranges, objective=objective),
        logs=frozenset(name for name, text in ranges.items() if _is_log(text)),
        errors=_errors(paths, truth, found, gaps),
        hardest=_hardest(paths, truth, finals, gaps),
        problems=_problems(paths, gaps),
        busy_s={
            "search": _busy_s(rows),
            "finalists": _busy_s(finals),
            "attempts that were lost": _busy_s(ledger.rows(name, stages.ATTEMPTS)),
        },
        command=shlex.join(["chorale", "sweep", str(paths.sweep_yaml), "--name", f"{name}-again"]),
        settings=_text(paths.sweep_yaml),
        is_archive=_is_archive(paths.sweep_yaml),
        gaps=gaps,
    )


def _n_trials(found: Mapping[str, Any], n: int) -> int:
    """How many trials a report counts; as many as there are where it does not count them."""
    counted = found.get("trials")
    return n if counted is None else sum(counted[k] for k in ("complete", "pruned", "failed"))


def _truth(paths: StudyPaths, gaps: dict[str, str]) -> Truth | None:
    try:
        truth = read_truth(paths)
    except UserError as error:
        gaps["errors"] = gaps["hardest"] = f"It cannot be said: {error}."
        return None
    if truth is None:
        gaps["errors"] = gaps["hardest"] = (
            "It cannot be said: the study keeps no labels of its tracks yet."
        )
    return truth


def _errors(
    paths: StudyPaths,
    truth: Truth | None,
    found: Mapping[str, Any] | None,
    gaps: dict[str, str],
) -> Errors | None:
    if found is None or "ensemble" not in found:
        gaps["errors"] = "No ensemble has been scored yet."
        return None
    if truth is None:
        return None
    again = f"chorale ensemble {shlex.quote(paths.root.name)}"
    try:
        said = read_headline(paths, truth)
    except UserError as error:
        gaps["errors"] = f"It cannot be said: {error}."
        return None
    if said is None or not _fits(said, truth, found):
        gaps["errors"] = (
            f"What the ensemble said of each track was not kept, as this study was scored by an "
            f"older version. `{again}` makes it again; that counts as another look at the test set."
        )
        return None
    return errors(said, truth, found.get("conformal"))


def _fits(said: Headline, truth: Truth, found: Mapping[str, Any]) -> bool:
    """Whether these predictions are those that the report is about."""
    right = said.test.argmax(axis=1) == truth.labels(truth.split.test_ids)
    told = float(found["ensemble"]["test"]["accuracy"])
    return abs(float(right.mean()) - told) < 0.5 / len(right)


def _hardest(
    paths: StudyPaths, truth: Truth | None, finals: Mapping[str, Row], gaps: dict[str, str]
) -> tuple[tuple[Hard, Audio | None], ...]:
    if truth is None:
        return ()
    try:
        found = hardest(paths, truth, finals)
    except UserError as error:
        gaps["hardest"] = f"It cannot be said: {error}."
        return ()
    files = read_audio(paths.audio_json)
    runs = paths.root.parent
    linked = [
        (one, audio_of((files or {}).get(one.track), page=paths.report_html, runs=runs))
        for one in found
    ]
    if found and not any(audio for _, audio in linked):
        gaps["audio"] = _why_silent(files, [one.track for one in found])
    return tuple(linked)


def _why_silent(files: Mapping[str, Path] | None, tracks: Sequence[str]) -> str:
    if files is None:
        return "Nothing can be played: the study does not keep where its audio lies."
    theirs = [files[track] for track in tracks if track in files]
    if not theirs:
        return "Nothing can be played: the dataset is a table of features, without audio."
    if any(path.is_file() for path in theirs):
        return "Nothing can be played: the dataset's files are no audio."
    return f"Nothing can be played: the audio is not on this machine ({theirs[0].parent})."


def _problems(paths: StudyPaths, gaps: dict[str, str]) -> tuple[Mapping[str, str], ...]:
    """What the audit found; it leaves no file where nothing is wrong."""
    if not paths.split_json.is_file():
        gaps["audit"] = (
            f"What the audit found is not known here: {paths.root} does not hold the study's files."
        )
        return ()
    try:
        with paths.problems_csv.open(encoding="utf-8", newline="") as file:
            return tuple(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return ()


def _busy_s(rows: Mapping[str, Row]) -> float:
    each = (row.facts.get("elapsed_s", row.facts.get("wall_s", 0.0)) for row in rows.values())
    return float(sum(each))


def _is_log(distribution: str) -> bool:
    return bool(json.loads(distribution).get("attributes", {}).get("log"))


def _is_archive(sweep_yaml: Path) -> bool:
    try:
        dataset = read_yaml(sweep_yaml).get("dataset")
    except (OSError, UserError):
        return False
    values = dataset.values() if isinstance(dataset, dict) else ()
    return any(isinstance(v, str) and v.lower().endswith(ARCHIVES) for v in values)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
