"""Texts and figures of the nightly pages: tiles, sections, table rows, notes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chorale.search.console.progress import duration_text
from chorale.search.evaluation.member_names import list_members
from chorale.search.nightly.records import Night
from chorale.search.report.charts.trend import NightMark
from chorale.search.report.page.numbers import DASH, interval, pct, signed_points
from chorale.search.statistics.main_score import main_score_of, metric_name

VERDICT_TONES = {"PROMOTED": "star", "KEPT": "good", "REFUSED": "bad", "FAILED": "bad"}


@dataclass(frozen=True)
class NightTile:
    """A figure with its name, and its interval or a remark."""

    what: str
    figure: str
    sure: str = ""


def champion_scores(night: Night) -> Mapping[str, Any] | None:
    """The test scores of the champion after the night; None where they were not measured."""
    figures = night.figures
    if night.state == "done" and night.verdict == "PROMOTED":
        return dict(figures["candidate"])
    found = figures.get("champion")
    return None if found is None else dict(found)


def trend_mark(night: Night) -> NightMark:
    """The night's mark in the trend chart."""
    scores, candidate = champion_scores(night), night.figures.get("candidate")
    ends = None
    if scores is not None:
        ends = (main_score_of(scores), scores["ci95"][0], scores["ci95"][1])
    cost = night.figures.get("cost")
    return NightMark(
        night.date.isoformat(),
        night.word,
        ends,
        None if candidate is None else main_score_of(candidate),
        None if cost is None else took_s(night) / 3600,
        night.reason,
    )


def trend_row(night: Night, link: str) -> dict[str, str]:
    """The night's row in the trend table and in its CSV file."""
    scores, figures = champion_scores(night), night.figures
    candidate, cost = figures.get("candidate"), figures.get("cost")
    difference, trials = figures.get("difference"), figures.get("trials")
    return {
        "date": night.date.isoformat(),
        "word": night.word,
        "tone": VERDICT_TONES.get(night.word, ""),
        "champion": pct(None if scores is None else main_score_of(scores)),
        "interval": DASH if scores is None else interval(scores["ci95"]),
        "candidate": pct(None if candidate is None else main_score_of(candidate)),
        "is": list_members(figures["members"]) if "members" in figures else DASH,
        "difference": DASH if difference is None else signed_points(difference),
        "tracks": str(figures.get("n_tracks", DASH)),
        "trials": DASH if trials is None else str(sum(trials.values())),
        "took": DASH if cost is None else duration_text(took_s(night)),
        "why": night.reason,
        "link": link,
    }


def night_lede(night: Night) -> str:
    """The lead sentence of a night's page."""
    return f"{night.word}: {night.reason}."


def night_notes(night: Night) -> list[str]:
    """Notes that need a person's action."""
    found, figures = [], night.figures
    looks, most = figures.get("looks"), figures.get("max_looks")
    if looks is not None and looks >= most:
        found.append(
            f"The test set is used up: it has been evaluated on {looks} times since "
            f"{figures['locked_since']}, and after {most} looks a false promotion is more likely "
            f"than none. A fresh one is due: name groups that were added later in "
            f"split.test_groups."
        )
    drift = figures.get("sentinel") or {}
    if drift.get("moved"):
        found.append(f"The drift check failed: {drift['reason']}.")
    in_use = figures.get("in_use") or {}
    if in_use.get("alarm"):
        found.append(f"The champion in use: {in_use['sentence']}.")
    return found


def night_tiles(night: Night) -> list[NightTile]:
    """The figures of a night."""
    figures = night.figures
    if "candidate" not in figures:
        return []
    candidate, champion = figures["candidate"], figures["champion"]
    found = [_score_tile("candidate", candidate)]
    if champion is not None:
        found.append(_score_tile("champion", champion))
        least = (
            f"at least {signed_points(figures['lower'])}" if figures["lower"] is not None else ""
        )
        difference = figures["difference"]
        shown = DASH if difference is None else signed_points(difference)
        found.append(NightTile("difference, in points", shown, least))
    found.append(
        NightTile("looks at the test set", str(figures["looks"]), f"limit {figures['max_looks']}")
    )
    found.append(NightTile("took", duration_text(took_s(night)), _trials(figures["trials"])))
    return found


def night_sections(night: Night) -> list[tuple[str, list[tuple[str, str]]]]:
    """The sections of a night's page: heading, and (name, text) of each fact."""
    figures = night.figures
    times = [("started", night.began_utc), ("ended", night.ended_utc), ("zone", night.zone)]
    found = []
    if "candidate" in figures:
        drift = figures["sentinel"]
        found.append(
            (
                "The data",
                [
                    ("since the last night", figures["changes_said"]),
                    ("tracks", f"{figures['n_tracks']}, {figures['n_quarantined']} quarantined"),
                    ("test set locked since", figures["locked_since"]),
                    ("drift check", drift["reason"]),
                ],
            )
        )
        p_value = figures["p_value"]
        needed = figures["n_tracks_needed"]
        found.append(
            (
                "The candidate",
                [
                    ("ensemble", f"{figures['kind']} of {list_members(figures['members'])}"),
                    (f"validation {metric_name(figures['candidate'])}", pct(figures["validation"])),
                    ("latency", _latency(figures)),
                    ("size", f"{figures['size_mb']:.1f} MB"),
                    (
                        "p-value of the difference",
                        DASH if p_value is None else f"{p_value:.3f}",
                    ),
                    ("tracks needed to decide", DASH if needed is None else f"{needed:,}"),
                    ("warm start from", ", ".join(figures["taught_by"]) or "no earlier night"),
                ],
            )
        )
    if in_use := figures.get("in_use"):
        found.append(("The champion in use", [("answers", in_use["sentence"])]))
    removed = figures.get("removed")
    kept = "; ".join(removed) if removed else "nothing"
    return [*found, ("The night", [*times, ("study", night.study or DASH), ("removed", kept)])]


def trend_tiles(nights: Sequence[Night]) -> list[NightTile]:
    """The figures of a schedule."""
    measured = [one for one in nights if champion_scores(one) is not None]
    found = []
    if measured:
        scores = champion_scores(measured[-1]) or {}
        found.append(_score_tile("champion", scores))
    words = [one.word for one in nights]
    run = len([w for w in words if w != "MISSED"])
    found.append(NightTile("nights", str(run), f"{words.count('MISSED')} missed"))
    found.append(
        NightTile(
            "promoted", str(words.count("PROMOTED")), f"{words.count('INCONCLUSIVE')} inconclusive"
        )
    )
    looked = [one for one in nights if "looks" in one.figures]
    if looked:
        last = looked[-1].figures
        found.append(
            NightTile("looks at the test set", str(last["looks"]), f"limit {last['max_looks']}")
        )
    spent = sum(took_s(one) for one in nights if "cost" in one.figures)
    found.append(NightTile("total duration", duration_text(spent)))
    return found


def night_metric(nights: Sequence[Night]) -> str:
    """The score of the latest night that has one: "accuracy" or "mAP"."""
    scored = (one.figures["candidate"] for one in reversed(nights) if "candidate" in one.figures)
    latest = next(scored, None)
    return "accuracy" if latest is None else metric_name(latest)


def _score_tile(who: str, scores: Mapping[str, Any]) -> NightTile:
    of = ", mAP" if metric_name(scores) == "mAP" else ""
    return NightTile(f"{who}{of}", pct(main_score_of(scores)), interval(scores["ci95"]))


def took_s(night: Night) -> float:
    """The duration of a night from start to end, in seconds.

    It includes the steps before and after the sweep: data, audit, packing, latency, verdict. For a
    night that has not ended, the duration of its sweep.
    """
    swept_s = float(night.figures["cost"]["wall_s"])
    if not night.began_utc or not night.ended_utc:
        return swept_s
    began, ended = map(datetime.fromisoformat, (night.began_utc, night.ended_utc))
    return max(swept_s, (ended - began).total_seconds())


def _latency(figures: Mapping[str, Any]) -> str:
    """The latency of a prediction; records of earlier versions hold wall-clock time only."""
    wall_ms = figures.get("latency_wall_ms")
    if wall_ms is None:
        return f"{figures['latency_ms']:.1f} ms"
    return f"{figures['latency_ms']:.1f} ms CPU time, {wall_ms:.1f} ms wall-clock time"


def _trials(counts: Mapping[str, int]) -> str:
    named = {"complete": "done", "pruned": "pruned", "failed": "failed"}
    return ", ".join(f"{n} {named[key]}" for key, n in counts.items() if n)
