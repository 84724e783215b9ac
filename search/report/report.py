"""What a sweep leaves for people and scripts: leaderboard.csv, report.json, report.html, a table.

`report.json` is a contract; its keys are listed in `write`. `renew` makes the page again at any
time, from the ledger, the bank and the study's files.
"""

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from chorale.cluster.versions import NAME, versions
from chorale.datasets.atomic import write_json, write_text
from chorale.datasets.errors import UserError
from chorale.datasets.splitting.grouping import UNGROUPED
from chorale.search.evaluation.member_names import named
from chorale.search.ledger import stages
from chorale.search.ledger.reader import LedgerReader, Row, StudyInfo
from chorale.search.paths import StudyPaths
from chorale.search.report.data.audio import write_audio
from chorale.search.report.data.data import Gathered, gather
from chorale.search.report.leaderboard import leaderboard, to_csv
from chorale.search.report.page.page import page
from chorale.search.report.page.sentences import unscored

if TYPE_CHECKING:
    from chorale.search.config.resolve import Resolved
    from chorale.search.data.prepare import Prepared
    from chorale.search.evaluation.final_evaluation import Judged
    from chorale.search.ledger.ledger import Ledger

MOST_MEMBERS = 8
"""So many of an ensemble's members are named on the terminal."""

READABLE = (
    "architectures", "importance", "confusion", "reliability", "hardest", "audit", "command",
)  # fmt: skip
"""Keys of `report.json` that `renew` tells anew."""

PACKAGES = (NAME, "torch", "torchaudio", "pytorch-lightning", "ray", "optuna", "numpy")


@dataclass(frozen=True)
class Cost:
    """Wall time of a sweep in seconds, and what each of its training runs took."""

    wall_s: float
    cpus_per_trial: float
    gpus_per_trial: float
    trials_at_once: int


def write(
    resolved: "Resolved",
    prepared: "Prepared",
    ledger: "Ledger",
    judged: "Judged",
    cost: Cost,
) -> None:
    """Writes `leaderboard.csv`, `report.json`, and where the audio lies; `renew` adds the page.

    Keys: study, dataset, split, trials, best_single, ensemble, ensembles, baselines, gains,
    baselines_made, optimism, test_looks, cautions, selection, calibration, conformal, per_class,
    expected, comparisons, cost, versions, seed; `renew` adds those of `readable`.
    """
    # Imported here: who only reads a report does not wait for what trains.

    sweep = resolved.sweep
    lost = ledger.rows(sweep.name, stages.ATTEMPTS)
    rows = ledger.rows(sweep.name, stages.SEARCH)
    finals = ledger.rows(sweep.name, stages.FINALISTS)
    lines = leaderboard(rows, finals, objective=sweep.search.objective, second=sweep.search.second)
    write_text(sweep.paths.leaderboard_csv, to_csv(lines))
    found = {
        "study": sweep.name,
        "dataset": {
            "name": resolved.dataset.INFO.name,
            "fingerprint": prepared.fingerprint,
            "n_tracks": len(prepared.tracks),
            "n_quarantined": len(prepared.problems),
            "n_groups": int(prepared.tracks["group"].nunique()),
            "labels": list(prepared.class_names),
        },
        "split": {
            "protocol": prepared.split.protocol,
            "hash": prepared.split.hash,
            "n_development": len(prepared.split.development_ids),
            "n_test": len(prepared.split.test_ids),
            "n_folds": prepared.split.n_folds,
        },
        "trials": _counts(rows),
        **judged.as_report(),
        "cost": _costs([*rows.values(), *finals.values(), *lost.values()], len(rows), cost),
        "versions": {"python": platform.python_version(), **_versions()},
        "seed": sweep.search.seed,
    }
    write_json(sweep.paths.report_json, found)
    write_audio(sweep.paths.audio_json, prepared.tracks)


def renew(
    ledger: LedgerReader, info: StudyInfo, about: Mapping[str, Any], paths: StudyPaths
) -> Gathered:
    """Writes `report.html` of a study as it is now, without a look at the test set.

    Of a finished study the keys of `readable` are written into `report.json`, too; of one that is
    not over, or has gone on since, it stays as it is, and so it does where there is none.

    Raises:
        UserError: `report.json` is damaged.
    """
    found = read(paths) if paths.report_json.is_file() else None
    gathered = gather(ledger, info, about, paths, found=found)
    if found is not None and info.state == "complete" and not gathered.is_stale:
        write_json(paths.report_json, {**found, **readable(gathered)})
    write_text(paths.report_html, page(gathered, headline=first_sentence(gathered)))
    return gathered


def readable(g: Gathered) -> dict[str, Any]:
    """The keys `READABLE` of `report.json`, told from the ledger, the bank and files, JSON-ready.

    `architectures` (each with n_done, n_pruned, n_failed, best, median, middle half), `importance`
    (shares that sum to 1, or why_not), `confusion` (counts by "test" and "out-of-fold", rows are
    true classes), `reliability` (bins before and after the temperature), `hardest` (development
    tracks that most finalists get wrong), `audit` (findings by problem), `command` (does it again).
    """
    told = [asdict(one) for one in g.abilities]
    for one in told:
        del one["reached"]
    found: dict[str, Any] = {
        "architectures": told,
        "importance": asdict(g.importance),
        "hardest": [asdict(one) for one, _ in g.hardest],
        "audit": dict(Counter(one.get("problem", "") for one in g.problems)),
        "command": g.command,
    }
    if g.errors is not None:
        found["confusion"] = {name: list(map(list, m)) for name, m in g.errors.counts.items()}
        found["reliability"] = [asdict(one) for one in g.errors.sureness]
    return found


def first_sentence(g: Gathered) -> str:
    """What the page says first."""
    return unscored(g) if g.found is None or "ensemble" not in g.found else headline(g.found)


def read(paths: StudyPaths) -> dict[str, Any]:
    """The report that an earlier sitting wrote.

    Raises:
        UserError: it is gone or damaged.
    """
    try:
        found: dict[str, Any] = json.loads(paths.report_json.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"the report of this finished study cannot be read ({error}); restore "
            f"{paths.report_json}, or raise --budget.trials to make a new one"
        ) from None
    if "foretold" in found:  # as studies of an older version say
        found.setdefault("expected", found.pop("foretold"))
    return found


def show(found: Mapping[str, Any], console: Console, *, folder: str) -> None:
    """The end of a sweep on the terminal: who scored what, and the one sentence that counts."""
    table = Table(title=f"study {found['study']}", title_justify="left", box=box.SIMPLE_HEAD)
    for name in (
        "",
        "validation",
        "out of fold",
        "test",
        "95 % interval",
        "macro-F1",
        "members",
        "ensemble's lead",
    ):
        table.add_column(name, justify="left" if name == "" else "right", no_wrap=True)
    for kind, one in found["ensembles"].items():
        style = "bold" if kind == found["ensemble"]["kind"] else ""
        members = _few(one["members"])
        gain = _gain(found, kind)
        table.add_row(kind, _percent(one["validation"]), *_scored(one), members, gain, style=style)
    table.add_section()
    for name, one in found["baselines"].items():
        table.add_row(name, "", *_scored(one), "", _gain(found, name), style="dim")
    console.print(table)
    if made := found.get("baselines_made"):
        said = f"Baselines read {made['features']} ({made['why']})"
        console.print("; ".join([said, *made["left_out"]]) + ".", soft_wrap=True, highlight=False)
    console.print(headline(found), highlight=False)
    page_file = StudyPaths(Path(folder)).report_html
    if page_file.is_file():
        console.print(f"Read it in a browser: {page_file}", soft_wrap=True)
    console.print(f"Everything is in {folder}; look inside: tensorboard --logdir {folder}")


def headline(found: Mapping[str, Any]) -> str:
    """What was found and how sure that is, in a few plain sentences."""
    ensemble, single = found["ensemble"], found["best_single"]
    low, high = ensemble["test"]["ci95"]
    rivals = {name: one["test"]["accuracy"] for name, one in found["baselines"].items()}
    best = max(rivals, key=lambda name: rivals[name]) if rivals else None
    beside = "" if best is None else f", the best baseline ({best}) {rivals[best]:.1%}"
    looks = found["test_looks"]
    test = ensemble["test"]
    said = (
        f"The {named(ensemble)} names "
        f"{test['accuracy']:.1%} of {test['n']} locked-away tracks rightly "
        f"(95 % interval {low:.1%} to {high:.1%}); the best single trial "
        f"{single['test']['accuracy']:.1%}{beside}. "
        f"The search believed {ensemble['validation']['accuracy']:.1%}"
        f"{_expected(found.get('expected'))}. "
        f"This test set has been looked at {'once' if looks == 1 else f'{looks} times'}."
    )
    if UNGROUPED in found.get("split", {}).get("protocol", ""):
        said = (
            f"Split by {UNGROUPED}: tracks of one artist may be on both sides, and every figure "
            f"may claim too much. {said}"
        )
    n_groups = ensemble["test"]["n_groups"]
    if ensemble["test"]["few_groups"]:
        groups = "one group is" if n_groups == 1 else f"{n_groups} groups are"
        said += f" Its {groups} few, which makes the interval wide."
    return said


def _expected(told: Mapping[str, Any] | None) -> str:
    """Of a study of an older version there is none."""
    return "" if told is None else f", the expected test accuracy was {told['accuracy']:.1%}"


def _few(members: Sequence[int | str]) -> str:
    """The trials' numbers, as many as a table has room for, and how many baselines."""
    trials = [str(member) for member in members if not isinstance(member, str)]
    baselines = [member for member in members if isinstance(member, str)]
    more = len(trials) - MOST_MEMBERS
    shown = ", ".join(trials[:MOST_MEMBERS]) + (f" and {more} more" if more > 0 else "")
    also = baselines[0] if len(baselines) == 1 else f"{len(baselines)} baselines"
    return " + ".join(filter(None, [shown, also if baselines else ""]))


def _scored(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    low, high = one["test"]["ci95"]
    interval = f"{low:.1%} - {high:.1%}"
    return (
        _percent(one["out_of_fold"]),
        _percent(one["test"]),
        interval,
        f"{one['test']['macro_f1']:.3f}",
    )


def _gain(found: Mapping[str, Any], name: str) -> str:
    """By how many points the headline ensemble is better, with the interval of that."""
    gain = found["gains"].get(name)
    if gain is None or name == found["ensemble"]["kind"]:
        return ""
    low, high = (100 * end for end in gain["ci95"])
    return f"{100 * gain['difference']:+.1f} ({low:+.0f} to {high:+.0f})"


def _percent(scores: Mapping[str, Any]) -> str:
    return f"{scores['accuracy']:.1%}"


def _counts(rows: Mapping[str, Row]) -> dict[str, Any]:
    states = Counter(row.state for row in rows.values())
    each: dict[str, Counter[str]] = {}
    for row in rows.values():
        each.setdefault(row.facts.get("architecture", "unknown"), Counter())[row.state] += 1
    return {
        "complete": states["COMPLETE"],
        "pruned": states["PRUNED"],
        "failed": states["FAIL"],
        "per_architecture": {
            name: {"complete": c["COMPLETE"], "pruned": c["PRUNED"], "failed": c["FAIL"]}
            for name, c in sorted(each.items())
        },
    }


def _costs(rows: list[Row], n_trials: int, cost: Cost) -> dict[str, float]:
    busy_s = sum(map(_busy_s, rows))
    return {
        "wall_s": cost.wall_s,
        "core_s": busy_s * cost.cpus_per_trial,
        "gpu_s": sum(_busy_s(row) * row.facts.get("gpus", cost.gpus_per_trial) for row in rows),
        "trials_per_hour": n_trials / cost.wall_s * 3600,
        "cpus_per_trial": cost.cpus_per_trial,
        "gpus_per_trial": cost.gpus_per_trial,
        "trials_at_once": cost.trials_at_once,
    }


def _busy_s(row: Row) -> float:
    return float(row.facts.get("elapsed_s", row.facts.get("wall_s", 0.0)))


def _versions() -> dict[str, str | None]:
    return versions(PACKAGES)
