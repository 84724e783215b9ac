"""What the pages of a night and of a schedule say, in words and numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chorale.search.console.progress import duration
from chorale.search.evaluation.member_names import listed
from chorale.search.nightly.records import Night
from chorale.search.report.charts.trend import NightMark
from chorale.search.report.page.numbers import DASH, interval, pct, points

TONES = {"PROMOTED": "star", "KEPT": "good", "REFUSED": "bad", "FAILED": "bad"}


@dataclass(frozen=True)
class Tile:
    """A figure, what it is, and how sure it is."""

    what: str
    figure: str
    sure: str = ""


def reign(night: Night) -> Mapping[str, Any] | None:
    """The test scores of who is champion after the night; None where they were not measured."""
    figures = night.figures
    if night.state == "done" and night.verdict == "PROMOTED":
        return dict(figures["candidate"])
    found = figures.get("champion")
    return None if found is None else dict(found)


def mark(night: Night) -> NightMark:
    """The night as the trend's chart draws it."""
    scores, candidate = reign(night), night.figures.get("candidate")
    ends = None
    if scores is not None:
        ends = (scores["accuracy"], scores["ci95"][0], scores["ci95"][1])
    cost = night.figures.get("cost")
    return NightMark(
        night.date.isoformat(),
        night.word,
        ends,
        None if candidate is None else candidate["accuracy"],
        None if cost is None else took_s(night) / 3600,
        f"{night.date}: {night.word}. {night.reason}",
    )


def row(night: Night, link: str) -> dict[str, str]:
    """The night as a line of the trend's table, and of its CSV file."""
    scores, figures = reign(night), night.figures
    candidate, cost = figures.get("candidate"), figures.get("cost")
    difference, trials = figures.get("difference"), figures.get("trials")
    return {
        "date": night.date.isoformat(),
        "word": night.word,
        "tone": TONES.get(night.word, ""),
        "champion": pct(None if scores is None else scores["accuracy"]),
        "interval": DASH if scores is None else interval(scores["ci95"]),
        "candidate": pct(None if candidate is None else candidate["accuracy"]),
        "is": listed(figures["members"]) if "members" in figures else DASH,
        "difference": DASH if difference is None else points(difference),
        "tracks": str(figures.get("n_tracks", DASH)),
        "trials": DASH if trials is None else str(sum(trials.values())),
        "took": DASH if cost is None else duration(took_s(night)),
        "why": night.reason,
        "link": link,
    }


def lede(night: Night) -> str:
    """The first sentence of a night's page."""
    return f"{night.word}: {night.reason}."


def notes(night: Night) -> list[str]:
    """What a person should act on."""
    found, figures = [], night.figures
    looks, most = figures.get("looks"), figures.get("max_looks")
    if looks is not None and looks >= most:
        found.append(
            f"The test set is worn out: it has been looked at {looks} times since "
            f"{figures['locked_since']}, and after {most} looks a false champion is more likely "
            f"than none. A fresh one is due: name groups that came later in split.test_groups."
        )
    seen = figures.get("sentinel") or {}
    if seen.get("moved"):
        found.append(f"The sentinel moved: {seen['reason']}.")
    return found


def tiles(night: Night) -> list[Tile]:
    """The figures of a night."""
    figures = night.figures
    if "candidate" not in figures:
        return []
    candidate, champion = figures["candidate"], figures["champion"]
    found = [Tile("candidate", pct(candidate["accuracy"]), interval(candidate["ci95"]))]
    if champion is not None:
        found.append(Tile("champion", pct(champion["accuracy"]), interval(champion["ci95"])))
        least = f"at least {points(figures['lower'])}" if figures["lower"] is not None else ""
        difference = figures["difference"]
        shown = DASH if difference is None else points(difference)
        found.append(Tile("difference, in points", shown, least))
    found.append(
        Tile("looks at the test set", str(figures["looks"]), f"good for {figures['max_looks']}")
    )
    found.append(Tile("took", duration(took_s(night)), _trials(figures["trials"])))
    return found


def sections(night: Night) -> list[tuple[str, list[tuple[str, str]]]]:
    """Heads, and the facts below each."""
    figures = night.figures
    times = [("begun", night.began_utc), ("ended", night.ended_utc), ("zone", night.zone)]
    found = []
    if "candidate" in figures:
        seen = figures["sentinel"]
        found.append(
            (
                "The data",
                [
                    ("since the last night", figures["changes_said"]),
                    ("tracks", f"{figures['n_tracks']}, {figures['n_quarantined']} quarantined"),
                    ("locked away since", figures["locked_since"]),
                    ("sentinel", seen["reason"]),
                ],
            )
        )
        p_value = figures["p_value"]
        needed = figures["n_tracks_needed"]
        found.append(
            (
                "The candidate",
                [
                    ("ensemble", f"{figures['kind']} of {listed(figures['members'])}"),
                    ("the search believed", pct(figures["validation"])),
                    ("a prediction takes", _latency(figures)),
                    ("size", f"{figures['size_mb']:.1f} MB"),
                    (
                        "chance of so large a difference",
                        DASH if p_value is None else f"{p_value:.3f}",
                    ),
                    ("tracks that could tell", DASH if needed is None else f"{needed:,}"),
                    ("taught by", ", ".join(figures["taught_by"]) or "no earlier night"),
                ],
            )
        )
    removed = figures.get("removed")
    kept = "; ".join(removed) if removed else "nothing"
    return [*found, ("The night", [*times, ("study", night.study or DASH), ("removed", kept)])]


def trend_tiles(nights: Sequence[Night]) -> list[Tile]:
    """The figures of a schedule."""
    measured = [one for one in nights if reign(one) is not None]
    found = []
    if measured:
        scores = reign(measured[-1]) or {}
        found.append(Tile("champion", pct(scores["accuracy"]), interval(scores["ci95"])))
    words = [one.word for one in nights]
    run = len([w for w in words if w != "MISSED"])
    found.append(Tile("nights", str(run), f"{words.count('MISSED')} missed"))
    found.append(
        Tile(
            "promoted", str(words.count("PROMOTED")), f"{words.count('INCONCLUSIVE')} inconclusive"
        )
    )
    looked = [one for one in nights if "looks" in one.figures]
    if looked:
        last = looked[-1].figures
        found.append(
            Tile("looks at the test set", str(last["looks"]), f"good for {last['max_looks']}")
        )
    spent = sum(took_s(one) for one in nights if "cost" in one.figures)
    found.append(Tile("took in all", duration(spent)))
    return found


def took_s(night: Night) -> float:
    """How long a night took from its beginning to its end, in seconds.

    With what comes before its sweep and after: data, audit, packing, timing, the verdict. Of a
    night that has not ended it is what its sweep took.
    """
    swept_s = float(night.figures["cost"]["wall_s"])
    if not night.began_utc or not night.ended_utc:
        return swept_s
    began, ended = map(datetime.fromisoformat, (night.began_utc, night.ended_utc))
    return max(swept_s, (ended - began).total_seconds())


def _latency(figures: Mapping[str, Any]) -> str:
    """What a prediction takes; earlier versions knew the clock on the wall alone."""
    wall_ms = figures.get("latency_wall_ms")
    if wall_ms is None:
        return f"{figures['latency_ms']:.1f} ms"
    return f"{figures['latency_ms']:.1f} ms of the processor, {wall_ms:.1f} ms by the clock"


def _trials(counts: Mapping[str, int]) -> str:
    named = {"complete": "done", "pruned": "pruned", "failed": "failed"}
    return ", ".join(f"{n} {named[key]}" for key, n in counts.items() if n)
