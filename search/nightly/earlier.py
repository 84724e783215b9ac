"""What a night learns from earlier ones: points to try first, and finalists that may join in.

The champion's own settings are tried before all others, as a sentinel
(`search.nightly.drift_check`).
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from chorale.datasets.errors import UserError
from chorale.search.config.resolve import Resolved
from chorale.search.data.prepare import Prepared, fingerprint
from chorale.search.evaluation.members import Member, read_member
from chorale.search.ledger import stages
from chorale.search.ledger.ledger import Ledger
from chorale.search.ledger.stages import SEARCH, Job
from chorale.search.paths import Runs, StudyPaths
from chorale.search.study import warm_start
from chorale.search.study.warm_start import Earlier, WarmStart
from chorale.search.sweep.stage import earlier_study

EACH = 10_000
"""A member of the n-th night that is not tonight's is numbered n times this, plus its number."""


@dataclass(frozen=True)
class Origin:
    """A trial of an earlier study, by its number, or a baseline of it, by its name."""

    study: str
    member: int | str

    @property
    def source(self) -> str:
        """As a warm point calls it."""
        return f"{self.study}/{self.member}"

    @property
    def is_trial(self) -> bool:
        """Whether it is to be trained again; baselines are, every night."""
        return isinstance(self.member, int)


@dataclass(frozen=True)
class Teachers:
    """Earlier studies by the number of their night, the latest first; and whose the sentinel is."""

    nights: tuple[tuple[int, str], ...] = ()
    sentinel: Origin | None = None

    def studies(self) -> tuple[str, ...]:
        """Their names, with that of the sentinel."""
        names = [name for _, name in self.nights]
        return tuple(dict.fromkeys([*names, *([self.sentinel.study] if self.sentinel else [])]))


def origin_of(number: int, study: str, nights: Sequence[tuple[int, str]]) -> Origin | None:
    """Which trial a member of a night's ensemble is; None where its night is not known any more."""
    if number < EACH:
        return Origin(study, number)
    names = dict(nights)
    night, own = divmod(number, EACH)
    return Origin(names[night], own) if night in names else None


def points(teachers: Teachers) -> Callable[[Resolved, Prepared, Ledger], WarmStart]:
    """What the search stage asks for: points of earlier nights, best first, the sentinel before.

    Those of nights on other data count, too, but set no hurdle for tonight's trials.
    """

    def warm(resolved: Resolved, prepared: Prepared, ledger: Ledger) -> WarmStart:
        told, objective = fingerprint(resolved, prepared), resolved.sweep.search.objective
        known = set(ledger.studies()) - {resolved.sweep.name}
        names = [name for name in teachers.studies() if name in known]
        earlier = [_as_same_data(earlier_study(ledger, name, objective), told) for name in names]
        found = warm_start.warm_start(resolved.space, told, earlier, objective=objective)
        origin = teachers.sentinel
        if origin is None or not origin.is_trial or origin.study not in known:
            return found
        one = next(study for study in earlier if study.name == origin.study)
        alone = replace(one, rows={k: v for k, v in one.rows.items() if k == str(origin.member)})
        first = warm_start.warm_start(resolved.space, told, [alone], objective=objective)
        others = [p for p in found.points if p.params not in [q.params for q in first.points]]
        return WarmStart((*first.points, *others), found.left_out)

    return warm


def _as_same_data(study: Earlier, told: dict[str, object]) -> Earlier:
    if study.fingerprint.get("dataset") == told["dataset"]:
        return study
    # what it reached there is no measure for what is reached here
    as_here = {**study.fingerprint, "dataset": told["dataset"], "split": "of other data"}
    return replace(study, fingerprint=as_here)


def allies(
    teachers: Teachers, runs: Runs
) -> Callable[[Resolved, Prepared, Ledger], tuple[list[Member], list[str]]]:
    """What the last stage asks for: finalists of earlier nights on the same data and split.

    Their files are linked into tonight's study under numbers of their own, so that whoever packs or
    shows the ensemble finds them there.
    """

    def joined(
        resolved: Resolved, prepared: Prepared, ledger: Ledger
    ) -> tuple[list[Member], list[str]]:
        told, mine = fingerprint(resolved, prepared), resolved.sweep.paths
        members: list[Member] = []
        said: list[str] = []
        for night, name in teachers.nights:
            before = ledger.fingerprint(name)
            differs = [k for k in ("dataset", "split", "features") if before.get(k) != told[k]]
            if differs:
                said.append(f"finalists of {name} stay out: it had another {', '.join(differs)}")
                continue
            found, lost = _members(runs.study(name), mine, night, resolved, prepared, ledger, name)
            members += found
            said += lost
            said.append(f"{len(found)} finalists of {name} may join the ensemble")
        return members, said

    return joined


def _members(
    theirs: StudyPaths,
    mine: StudyPaths,
    night: int,
    resolved: Resolved,
    prepared: Prepared,
    ledger: Ledger,
    name: str,
) -> tuple[list[Member], list[str]]:
    """Its finalists under numbers of their own, and a line for each that cannot join, with why."""
    split, seeds = prepared.split, resolved.sweep.finalists.seeds
    rows = ledger.rows(name, SEARCH)
    done = {k for k, row in ledger.rows(name, stages.FINALISTS).items() if row.state == "COMPLETE"}
    numbers = sorted({int(key.split("/")[0]) for key in done})
    found, lost = [], []
    for number in numbers:
        jobs = [Job(number, fold, seed) for seed in range(seeds) for fold in range(split.n_folds)]
        weights = [theirs.finalist(number, fold=j.fold, seed=j.seed).weights for j in jobs]
        if not all(job.key in done for job in jobs) or not all(map(_whole, weights)):
            continue  # weights that were removed cannot predict
        own = night * EACH + number
        try:
            _link(theirs.trial(number).predictions, mine.trial(own).predictions)
            for job in jobs:
                source = theirs.finalist(number, fold=job.fold, seed=job.seed)
                target = mine.finalist(own, fold=job.fold, seed=job.seed)
                _link(source.predictions, target.predictions)
                for path in source.weights.iterdir():
                    _link(path, target.weights / path.name)
            renumbered = [replace(job, number=own) for job in jobs]
            architecture = str(rows[str(number)].facts.get("architecture", ""))
            member = read_member(mine, split, own, renumbered, architecture=architecture)
        except (UserError, FileNotFoundError) as error:  # what is damaged or gone joins nothing
            lost.append(f"finalist {number} of {name} stays out: {error}")
        else:
            if np.isfinite(member.out_of_fold).all():
                found.append(member)
                continue
            lost.append(f"finalist {number} of {name} stays out: what it said is not finite")
        # the links of tonight's study, not the files of the earlier one
        shutil.rmtree(mine.finalist(own, fold=0, seed=0).root.parent, ignore_errors=True)
        shutil.rmtree(mine.trial(own).root, ignore_errors=True)
    return found, lost


def _whole(weights: Path) -> bool:
    return weights.is_dir() and any(weights.iterdir())


def _link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
