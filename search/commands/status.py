"""`chorale status [STUDY] [--runs FOLDER] [--store URL] [--json]`: how far a study is."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chorale.search.commands.list import STYLES, summary
from chorale.search.commands.study_words import StudyWords, about, console, study_words

if TYPE_CHECKING:
    from chorale.search.ledger.reader import LedgerReader, StudyInfo

HELP = """\
usage: chorale status [STUDY] [--runs FOLDER] [--store URL] [--json]

Says how far a study is, also while it runs: who runs it, how its trials ended, its budget and what
is spent, the best trial so far, and why trials failed. Without STUDY: those that run now, or else
the newest.

  --runs FOLDER  the folder of all studies (runs)
  --store URL    the ledger, where it is not in that folder
  --json         the same for other programs
"""
N_REASONS = 3
"""So many reasons of failures are shown, the most frequent first."""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    given = study_words(words, flags=["json"])
    ledger = given.open()
    try:
        found = [status(ledger, one, given) for one in _wanted(ledger, given.study)]
    finally:
        ledger.close()
    if "json" in given.flags:
        print(json.dumps(found, indent=2))
        return 0
    if not found:
        console().print("There is no study yet; start one with: chorale sweep")
    for i, one in enumerate(found):
        if i:
            console().print()
        _show(one)
    return 0


def status(ledger: "LedgerReader", info: "StudyInfo", given: StudyWords) -> dict[str, Any]:
    """All that is said of one study, JSON-ready."""
    told = about(info, given.runs.study(info.name))
    rows = ledger.rows(info.name, "search")
    finals = ledger.rows(info.name, "finalists")
    failed = [row for row in rows.values() if row.state == "FAIL"]
    return {
        "study": info.name,
        "state": info.state,
        "died": info.died,
        "holder": info.holder,
        "beat_age_s": info.beat_age_s,
        "dataset": told.get("dataset"),
        "budget": {k: v for k, v in (told.get("budget") or {}).items() if v is not None},
        "spent_s": info.spent_s,
        **summary(rows, told.get("objective") or "accuracy"),
        "running": ledger.n_running(info.name),
        "finalists": dict(Counter(row.state for row in finals.values())),
        "failures": [
            {"reason": reason, "n": n, "last_trial": last}
            for reason, n, last in _reasons({row.key: row.reason for row in failed})
        ],
    }


def _wanted(ledger: "LedgerReader", study: str | None) -> list["StudyInfo"]:
    if study is not None:
        return [ledger.study(study)]
    every = ledger.all_studies()
    return [one for one in every if one.state == "running"] or every[:1]


def _reasons(failed: Mapping[str, str]) -> list[tuple[str, int, int]]:
    """(reason, how often, the last trial that had it), the most frequent first."""
    counts = Counter(failed.values()).most_common(N_REASONS)
    return [
        (reason, n, max(int(key) for key, why in failed.items() if why == reason))
        for reason, n in counts
    ]


def _show(one: Mapping[str, Any]) -> None:
    from rich.markup import escape

    lines = {"study": f"{escape(one['study'])}: {STYLES[one['state']]}{escape(_who(one))}"}
    lines |= {name: escape(text) for name, text in _lines(one).items() if text}
    for name, text in lines.items():
        console().print(f"[bold]{name:<10}[/bold] {text}", soft_wrap=True)


def _who(one: Mapping[str, Any]) -> str:
    from chorale.search.console.progress import duration

    if one["died"]:
        return f" ({one['holder']} ended without a word)"
    if one["state"] != "running":
        return ""
    age_s = one["beat_age_s"]
    return f" on {one['holder']}" + (
        "" if age_s is None else f", last sign of life {duration(age_s)} ago"
    )


def _lines(one: Mapping[str, Any]) -> dict[str, str]:
    from chorale.search.console.progress import WORDS, duration

    ended, budget, best = one["trials"], dict(one["budget"]), one["best"]
    n, limit = sum(ended.values()), budget.pop("trials", None)
    words = dict(zip(ended, ("done", "pruned", "failed"), strict=True))
    trials = f"{n}{f' of {limit}' if limit else ''}"
    split = ", ".join(f"{ended[key]} {word}" for key, word in words.items() if ended[key])
    waiting = "running" if one["state"] == "running" else "to be taken up again"
    split += f"{', ' if split else ''}{one['running']} {waiting}" if one["running"] else ""
    finals = ", ".join(f"{count} {WORDS[state]}" for state, count in one["finalists"].items())
    resumable = one["state"] == "interrupted"
    return {
        "dataset": str(one["dataset"] or ""),
        "trials": trials + (f": {split}" if split else ""),
        "finalists": finals,
        "budget": ", ".join(f"{key} {value}" for key, value in budget.items()),
        "spent": duration(one["spent_s"]),
        "best": ""
        if best is None
        else f"{best['value']:.3f} {one['objective']}, trial {best['trial']} "
        f"({best['architecture']})",
        **{
            f"failed {i}": f"{why['n']} x {why['reason']} (last: trial {why['last_trial']})"
            for i, why in enumerate(one["failures"], start=1)
        },
        "go on": shlex.join(["chorale", "resume", one["study"]]) if resumable else "",
    }
