"""Reuse of earlier nights: their best points warm-start a night, their finalists may be members.

The champion's own configuration is tried before all others, for the drift check
(`search.nightly.drift_check`).
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from chorale.datasets.errors import UserError
from chorale.search.config.resolve import ResolvedSweep
from chorale.search.data.prepare import PreparedData, study_fingerprint
from chorale.search.evaluation.members import Member, read_member
from chorale.search.ledger import stages
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.stages import SEARCH, Job
from chorale.search.paths import Runs, StudyPaths
from chorale.search.study import warm_start
from chorale.search.study.warm_start import EarlierStudy, WarmStart
from chorale.search.sweep.earlier_studies import earlier_study

NUMBERS_PER_NIGHT = 10_000
"""A finalist of the n-th night gets this number times n, plus its own, as a member tonight."""


@dataclass(frozen=True)
class StudyMember:
    """A trial of a study, by its number, or a baseline of it, by its name."""

    study: str
    member: int | str

    @property
    def source(self) -> str:
        """The `source` of a warm-start point: STUDY/NUMBER."""
        return f"{self.study}/{self.member}"

    @property
    def is_trial(self) -> bool:
        """Whether it is a trial, which must be trained again; baselines are fitted every night."""
        return isinstance(self.member, int)


@dataclass(frozen=True)
class EarlierNights:
    """The earlier studies that contribute, as (night number, name), latest first.

    `drift_origin` is the champion's member that the drift check repeats.
    """

    nights: tuple[tuple[int, str], ...] = ()
    drift_origin: StudyMember | None = None

    def studies(self) -> tuple[str, ...]:
        """The names of the studies, including that of `drift_origin`."""
        names = [name for _, name in self.nights]
        if self.drift_origin is not None:
            names.append(self.drift_origin.study)
        return tuple(dict.fromkeys(names))


def resolve_member(
    number: int, study: str, nights: Sequence[tuple[int, str]]
) -> StudyMember | None:
    """The trial behind a member of a night's ensemble; None where its night is unknown."""
    if number < NUMBERS_PER_NIGHT:
        return StudyMember(study, number)
    names = dict(nights)
    night, own = divmod(number, NUMBERS_PER_NIGHT)
    return StudyMember(names[night], own) if night in names else None


def nightly_warm_start(
    earlier: EarlierNights,
) -> Callable[[ResolvedSweep, PreparedData, Ledger], WarmStart]:
    """The warm start of a night: the drift check's point, then the best ones of earlier nights.

    Nights on other data contribute points, too, but no pruning threshold for tonight's trials.
    """

    def warm(resolved: ResolvedSweep, prepared: PreparedData, ledger: Ledger) -> WarmStart:
        tonight, objective = study_fingerprint(resolved, prepared), resolved.sweep.search.objective
        known = set(ledger.studies()) - {resolved.sweep.name}
        names = [name for name in earlier.studies() if name in known]
        studies = [_as_same_data(earlier_study(ledger, name, objective), tonight) for name in names]
        found = warm_start.warm_start(resolved.space, tonight, studies, objective=objective)
        origin = earlier.drift_origin
        if origin is None or not origin.is_trial or origin.study not in known:
            return found
        one = next(study for study in studies if study.name == origin.study)
        alone = replace(one, rows={k: v for k, v in one.rows.items() if k == str(origin.member)})
        first = warm_start.warm_start(resolved.space, tonight, [alone], objective=objective)
        others = [p for p in found.points if p.params not in [q.params for q in first.points]]
        return WarmStart((*first.points, *others), found.left_out)

    return warm


def _as_same_data(study: EarlierStudy, tonight: dict[str, object]) -> EarlierStudy:
    if study.fingerprint.get("dataset") == tonight["dataset"]:
        return study
    # scores on other data are no pruning threshold here
    as_here = {**study.fingerprint, "dataset": tonight["dataset"], "split": "of other data"}
    return replace(study, fingerprint=as_here)


def earlier_members(
    earlier: EarlierNights, runs: Runs
) -> Callable[[ResolvedSweep, PreparedData, Ledger], tuple[list[Member], list[str]]]:
    """Further ensemble members for a night: finalists of earlier nights on the same data and split.

    Their files are linked into tonight's study under new numbers, where packing and the report find
    them.
    """

    def joined(
        resolved: ResolvedSweep, prepared: PreparedData, ledger: Ledger
    ) -> tuple[list[Member], list[str]]:
        tonight, paths = study_fingerprint(resolved, prepared), resolved.sweep.paths
        members: list[Member] = []
        lines: list[str] = []
        for night, name in earlier.nights:
            before = ledger.fingerprint(name)
            differs = [k for k in ("dataset", "split", "features") if before.get(k) != tonight[k]]
            if differs:
                lines.append(f"finalists of {name} are excluded: other {', '.join(differs)}")
                continue
            found, lost = _members(runs.study(name), paths, night, resolved, prepared, ledger, name)
            members += found
            lines += lost
            lines.append(f"{len(found)} finalists of {name} may join the ensemble")
        return members, lines

    return joined


def _members(
    source_study: StudyPaths,
    target_study: StudyPaths,
    night: int,
    resolved: ResolvedSweep,
    prepared: PreparedData,
    ledger: Ledger,
    name: str,
) -> tuple[list[Member], list[str]]:
    """Links and reads a study's finalists; gives a line with the reason for each excluded one."""
    split, folds = prepared.split, range(prepared.split.n_folds)
    rows = ledger.rows(name, SEARCH)
    done = stages.complete_seeds(ledger.rows(name, stages.FINALISTS), split.n_folds)
    found, lost = [], []
    for number, complete in done.items():
        kept = [s for s in complete if _has_weights(source_study, number, s, split.n_folds)]
        seeds = resolved.sweep.finalists.used_seeds(kept)
        if not seeds:
            continue  # unfinished, or its weights were removed by retention
        jobs = [Job(number, fold, seed) for seed in seeds for fold in folds]
        own = night * NUMBERS_PER_NIGHT + number
        try:
            _link(source_study.trial(number).predictions, target_study.trial(own).predictions)
            for job in jobs:
                source = source_study.finalist(number, fold=job.fold, seed=job.seed)
                target = target_study.finalist(own, fold=job.fold, seed=job.seed)
                _link(source.predictions, target.predictions)
                for path in source.weights.iterdir():
                    _link(path, target.weights / path.name)
            renumbered = [replace(job, number=own) for job in jobs]
            architecture = str(rows[str(number)].facts.get("architecture", ""))
            member = read_member(target_study, split, own, renumbered, architecture=architecture)
        except (UserError, FileNotFoundError) as error:  # damaged or missing predictions
            lost.append(f"finalist {number} of {name} is excluded: {error}")
        else:
            if np.isfinite(member.out_of_fold).all():
                found.append(member)
                continue
            lost.append(f"finalist {number} of {name} is excluded: its predictions are not finite")
        # removes the links in tonight's study, not the files of the earlier one
        shutil.rmtree(target_study.finalist(own, fold=0, seed=0).root.parent, ignore_errors=True)
        shutil.rmtree(target_study.trial(own).root, ignore_errors=True)
    return found, lost


def _has_weights(study: StudyPaths, number: int, seed: int, n_folds: int) -> bool:
    """Whether the weights of a finalist's seed are there for every fold."""
    folders = [study.finalist(number, fold=fold, seed=seed).weights for fold in range(n_folds)]
    return all(one.is_dir() and any(one.iterdir()) for one in folders)


def _link(source: Path, target: Path) -> None:
    """Creates a hard link; a copy where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
