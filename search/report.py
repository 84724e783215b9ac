"""What a sweep leaves for people and scripts: leaderboard.csv, report.json, and a table to read.

`report.json` is a contract; its keys are listed in `write`.
"""

import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from cluster.versions import versions
from datasets.atomic import write_json, write_text
from datasets.errors import UserError
from search import finalists, study
from search.judge import Judged
from search.leaderboard import leaderboard, to_csv
from search.paths import StudyPaths
from search.prepare import Prepared
from search.resolve import Resolved
from search.store import Ledger, Row

MOST_MEMBERS = 8
"""So many of an ensemble's members are named on the terminal."""

PACKAGES = ("chorale", "torch", "torchaudio", "pytorch-lightning", "ray", "optuna", "numpy")


@dataclass(frozen=True)
class Cost:
    """Wall time of a sweep in seconds, and what each of its training runs took."""

    wall_s: float
    cpus_per_trial: float
    gpus_per_trial: float
    trials_at_once: int


def write(
    resolved: Resolved, prepared: Prepared, ledger: Ledger, judged: Judged, cost: Cost
) -> dict[str, Any]:
    """Writes `leaderboard.csv` and `report.json`; gives what stands in the latter.

    Keys: study, dataset, split, trials, best_single, ensemble, ensembles, baselines, gains,
    optimism, test_looks, selection, calibration, conformal, per_class, comparisons, cost, versions,
    seed.
    """
    sweep = resolved.sweep
    rows = ledger.rows(sweep.name, study.STAGE)
    finals = ledger.rows(sweep.name, finalists.STAGE)
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
        "cost": _costs([*rows.values(), *finals.values()], len(rows), cost),
        "versions": {"python": platform.python_version(), **_versions()},
        "seed": sweep.search.seed,
    }
    write_json(sweep.paths.report_json, found)
    return found


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
    console.print(headline(found), highlight=False)
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
        f"The {ensemble['kind']} ensemble of {len(ensemble['members'])} names "
        f"{test['accuracy']:.1%} of {test['n']} locked-away tracks rightly "
        f"(95 % interval {low:.1%} to {high:.1%}); the best single trial "
        f"{single['test']['accuracy']:.1%}{beside}. "
        f"The search believed {ensemble['validation']['accuracy']:.1%}. "
        f"This test set has been looked at {'once' if looks == 1 else f'{looks} times'}."
    )
    n_groups = ensemble["test"]["n_groups"]
    if ensemble["test"]["few_groups"]:
        groups = "one group is" if n_groups == 1 else f"{n_groups} groups are"
        said += f" Its {groups} few: the true interval is wider."
    return said


def _few(members: Sequence[int]) -> str:
    """The members' numbers, as many as a table has room for."""
    shown = ", ".join(map(str, members[:MOST_MEMBERS]))
    more = len(members) - MOST_MEMBERS
    return f"{shown} and {more} more" if more > 0 else shown


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
    busy_s = sum(row.facts.get("elapsed_s", row.facts.get("wall_s", 0.0)) for row in rows)
    return {
        "wall_s": cost.wall_s,
        "core_s": busy_s * cost.cpus_per_trial,
        "gpu_s": busy_s * cost.gpus_per_trial,
        "trials_per_hour": n_trials / cost.wall_s * 3600,
    }


def _versions() -> dict[str, str | None]:
    return versions(PACKAGES)
