"""`chorale status [STUDY]`: the progress of a study."""

import contextlib
import json
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from chorale.search.api.study import study_about
from chorale.search.commands.command import command, require
from chorale.search.commands.console import console
from chorale.search.commands.parameters import Number, flag
from chorale.search.commands.study_options import STUDY_STYLES, StudyOptions, study_options
from chorale.search.ledger.notes import read_notes
from chorale.search.ledger.stages import read_stages_s
from chorale.search.ledger.trials_summary import trials_summary

if TYPE_CHECKING:
    from chorale.search.ledger.reader import LedgerReader, StudyInfo

EVERY_S, MOST_S = 5.0, 3600.0
"""The pause between two looks of --watch, and the longest one, in seconds."""

N_REASONS = 3
"""How many reasons of failures are shown, the most frequent first."""


@command(examples=["chorale status", "chorale status my_study --watch --every 10"])
@flag("--watch", "Show it again and again, until none of these studies runs any more.")
@click.option(
    "--every",
    "every_s",
    type=Number(0.1, MOST_S),
    metavar="SECONDS",
    show_default=f"{EVERY_S:g}",
    help="The pause between two looks of --watch.",
)
@flag("--json", "Print JSON; with --watch, a line for each look.", name="as_json")
@study_options(required=False)
def run(given: StudyOptions, watch: bool, every_s: float | None, as_json: bool) -> int:
    """Shows the progress of a study, also while it runs.

    Shown are its owner, its trials by final state, the budget and what is spent, the best trial so
    far, and why trials failed; the time of each stage is that of the stages that have ended.
    Without STUDY: all that are running now, or else the newest one.
    """
    if watch:
        _watch(given, every_s or EVERY_S, as_json=as_json)
        return 0
    require(every_s is None, "--every is the pause of --watch, which is not given; add --watch")
    found = _read(given)
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        console().print(_markup(found), soft_wrap=True)
    return 0


def _read(given: StudyOptions, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The status of these studies, or without any of those that `given` asks for."""
    with given.open() as ledger:
        infos = [ledger.study(name) for name in names] or _wanted(ledger, given.study)
        return [study_status(ledger, one, given) for one in infos]


def _watch(given: StudyOptions, every_s: float, *, as_json: bool) -> None:
    """Shows the status again and again, until none of the studies runs."""
    from rich.live import Live
    from rich.text import Text

    found = _read(given)
    names = [one["study"] for one in found]
    with (
        contextlib.nullcontext() if as_json else Live(console=console(), auto_refresh=False) as live
    ):
        while True:
            if live is None:
                print(json.dumps(found), flush=True)
            else:
                live.update(Text.from_markup(_markup(found)), refresh=True)
            if not any(one["state"] == "running" for one in found):
                return
            time.sleep(every_s)
            found = _read(replace(given), names)  # a copy downloads a bucket's files anew


def study_status(ledger: "LedgerReader", info: "StudyInfo", given: StudyOptions) -> dict[str, Any]:
    """The status of one study, JSON-ready."""
    paths = given.runs.study(info.name)
    about, notes = study_about(info, paths), read_notes(paths)
    rows = ledger.rows(info.name, "search")
    finals = ledger.rows(info.name, "finalists")
    failed = [row for row in rows.values() if row.state == "FAIL"]
    return {
        "study": info.name,
        "state": info.state,
        "died": info.died,
        "holder": info.owner,
        "beat_age_s": info.heartbeat_age_s,
        "dataset": about.get("dataset"),
        "budget": {k: v for k, v in (about.get("budget") or {}).items() if v is not None},
        "spent_s": info.spent_s,
        "stages_s": read_stages_s(paths),
        "tags": list(notes.tags),
        "note": notes.note,
        **trials_summary(rows, about.get("objective") or "accuracy"),
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


def _markup(found: Sequence[Mapping[str, Any]]) -> str:
    """The studies for people, in rich's markup."""
    if not found:
        return "There is no study yet; start one with: chorale sweep"
    return "\n\n".join(map(_study_markup, found))


def _study_markup(one: Mapping[str, Any]) -> str:
    from rich.markup import escape

    lines = {
        "study": f"{escape(one['study'])}: {STUDY_STYLES[one['state']]}{escape(_owner_text(one))}"
    }
    lines |= {name: escape(text) for name, text in _lines(one).items() if text}
    return "\n".join(f"[bold]{name:<10}[/bold] {text}" for name, text in lines.items())


def _owner_text(one: Mapping[str, Any]) -> str:
    from chorale.search.console.progress import duration_text

    if one["died"]:
        return f" ({one['holder']} died)"
    if one["state"] != "running":
        return ""
    age_s = one["beat_age_s"]
    return f" on {one['holder']}" + (
        "" if age_s is None else f", last heartbeat {duration_text(age_s)} ago"
    )


def _lines(one: Mapping[str, Any]) -> dict[str, str]:
    from chorale.search.console.progress import STATE_WORDS, duration_text, durations_text

    ended, budget, best = one["trials"], dict(one["budget"]), one["best"]
    n, limit = sum(ended.values()), budget.pop("trials", None)
    state_words = dict(zip(ended, ("done", "pruned", "failed"), strict=True))
    trials = f"{n}{f' of {limit}' if limit else ''}"
    split = ", ".join(f"{ended[key]} {word}" for key, word in state_words.items() if ended[key])
    open_state = "running" if one["state"] == "running" else "to be resumed"
    split += f"{', ' if split else ''}{one['running']} {open_state}" if one["running"] else ""
    finals = ", ".join(f"{count} {STATE_WORDS[state]}" for state, count in one["finalists"].items())
    resumable = one["state"] == "interrupted"
    return {
        "dataset": str(one["dataset"] or ""),
        "trials": trials + (f": {split}" if split else ""),
        "finalists": finals,
        "budget": ", ".join(f"{key} {value}" for key, value in budget.items()),
        "spent": duration_text(one["spent_s"]),
        "by stage": durations_text(one["stages_s"]),
        "tags": ", ".join(one["tags"]),
        "note": one["note"],
        "best": ""
        if best is None
        else f"{best['value']:.3f} {one['objective']}, trial {best['trial']} "
        f"({best['architecture']})",
        **{
            f"failed {i}": f"{why['n']} x {why['reason']} (last: trial {why['last_trial']})"
            for i, why in enumerate(one["failures"], start=1)
        },
        "resume with": shlex.join(["chorale", "resume", one["study"]]) if resumable else "",
    }
