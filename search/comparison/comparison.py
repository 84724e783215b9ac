"""Compares finished studies: scores on common test tracks, paired differences, settings, search.

Nothing is trained and no test track is predicted again: the chosen ensembles' stored predictions
are compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from chorale.search.comparison.common_tracks import CommonTracks, common_test_tracks
from chorale.search.comparison.scored_study import ScoredStudy
from chorale.search.statistics.main_score import main_score_of
from chorale.search.statistics.scores import json_scores, pairwise_comparisons

NO_VALUE = "-"
"""The value of a setting in a study that lacks it."""


@dataclass(frozen=True, eq=False)
class StudyComparison:
    """Several studies on their common test tracks.

    `summaries` has a JSON-ready row for each study: its dataset, trials, cost and scores, of which
    `common` are those on the common tracks. `pairs` has one for each two studies (see
    `search.statistics.scores.pairwise_comparisons`). `settings` maps each setting that differs to
    its values, as text, in the order of the studies. `curves` maps each study to the best objective
    on validation tracks after each ended trial, empty where the studies' objectives or splits
    differ, as such values cannot be compared.
    """

    tracks: CommonTracks
    summaries: Sequence[Mapping[str, Any]]
    pairs: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Sequence[str]]
    curves: Mapping[str, Sequence[float | None]]
    objective: str
    same_split: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The studies, in the order in which they were given."""
        return tuple(one["study"] for one in self.summaries)

    @property
    def n_groups(self) -> int:
        """The number of groups of the common tracks."""
        return len(set(self.tracks.groups.tolist()))

    @property
    def n_groups_text(self) -> str:
        """`n_groups` in words."""
        return f"{self.n_groups} {'group' if self.n_groups == 1 else 'groups'}"

    @property
    def metric(self) -> str:
        """The score that is compared: "accuracy" or "mAP"."""
        return "mAP" if self.tracks.labels.ndim == 2 else "accuracy"

    def as_json(self) -> dict[str, Any]:
        """The content of `chorale compare --json`."""
        return {
            "metric": self.metric,
            "objective": self.objective,
            "n_common": len(self.tracks.ids),
            "n_groups": self.n_groups,
            "n_left_out": self.tracks.n_left_out,
            "n_familiar": self.tracks.n_familiar,
            "same_split": self.same_split,
            "studies": list(self.summaries),
            "pairs": list(self.pairs),
            "settings": {
                key: dict(zip(self.names, values, strict=True))
                for key, values in self.settings.items()
            },
            "best_so_far": dict(self.curves),
        }


def compare_studies(studies: Sequence[ScoredStudy]) -> StudyComparison:
    """Compares two or more studies.

    Raises:
        UserError: they cannot be compared (see `common_test_tracks`).
    """
    tracks = common_test_tracks({one.name: one.truth for one in studies})
    labels, groups = tracks.labels, tracks.groups
    proba_of = {}
    for one in studies:
        at = {track: i for i, track in enumerate(one.truth.split.test_ids)}
        proba_of[one.name] = one.test[[at[track] for track in tracks.ids]]
    objectives = {one.objective for one in studies}
    same_split = len({one.truth.split.hash for one in studies}) == 1
    is_comparable = len(objectives) == 1 and same_split
    return StudyComparison(
        tracks,
        [_summary(one, json_scores(proba_of[one.name], labels, groups)) for one in studies],
        pairwise_comparisons(proba_of, labels, groups),
        _differing([one.settings for one in studies]),
        {one.name: _best_so_far(one) for one in studies} if is_comparable else {},
        ", ".join(sorted(objectives)),
        same_split,
    )


def _summary(study: ScoredStudy, common: Mapping[str, Any]) -> dict[str, Any]:
    report = study.report
    trials = report["trials"]
    return {
        "study": study.name,
        "dataset": report.get("dataset", {}).get("name"),
        "n_tracks": report.get("dataset", {}).get("n_tracks"),
        "n_development": len(study.truth.split.development_ids),
        "trials": {state: trials.get(state, 0) for state in ("complete", "pruned", "failed")},
        "wall_s": report.get("cost", {}).get("wall_s"),
        "ensemble": report["ensemble"]["kind"],
        "test": report["ensemble"]["test"],
        "common": dict(common),
    }


def _differing(each: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Setting -> its values as text, for those that are not the same in all studies."""
    found = {}
    for key in dict.fromkeys(key for settings in each for key in settings):
        values = [_text(settings[key]) if key in settings else NO_VALUE for settings in each]
        if len(set(values)) > 1:
            found[key] = values
    return found


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _best_so_far(study: ScoredStudy) -> list[float | None]:
    """The best objective of completed trials after each trial, in the order of their numbers."""
    rows = sorted(study.rows.values(), key=lambda row: int(row.key))
    values = [
        row.facts.get("metrics", {}).get(study.objective) if row.state == "COMPLETE" else None
        for row in rows
    ]
    finite = [None if value is None or value != value else float(value) for value in values]
    return list(accumulate(finite, _better))


def _better(a: float | None, b: float | None) -> float | None:
    known = [value for value in (a, b) if value is not None]
    return max(known, default=None)


def pair_sentence(pair: Mapping[str, Any]) -> str:
    """One comparison in words: whether a difference is shown, and its interval in points."""
    first, second = pair["first"], pair["second"]
    low, high = pair["ci95"]
    points = (
        f"{100 * pair['difference']:+.1f} points (95 % CI {100 * low:+.1f} to {100 * high:+.1f})"
    )
    if low > 0:
        return f"'{first}' is better than '{second}': {points}"
    if high < 0:
        return f"'{first}' is worse than '{second}': {points}"
    return f"no difference is shown between '{first}' and '{second}': {points}"


def caution_lines(comparison: StudyComparison) -> list[str]:
    """What limits the comparison, one sentence each."""
    found = []
    n_left_out, n_pairs = comparison.tracks.n_left_out, len(comparison.pairs)
    if n_left_out:
        found.append(
            f"{n_left_out} common test tracks are left out: only some of the studies were trained "
            f"on other tracks of their groups."
        )
    if comparison.tracks.n_familiar:
        found.append(
            f"All studies were trained on other tracks of the groups of "
            f"{comparison.tracks.n_familiar} tracks, so all scores are too optimistic."
        )
    if any(one["common"]["few_groups"] for one in comparison.summaries):
        found.append(
            f"The common test tracks have only {comparison.n_groups_text}, so the intervals are "
            f"wide."
        )
    if not comparison.same_split:
        found.append(
            "The studies have different splits, so they were trained on different tracks; a "
            "difference may come from these."
        )
    if n_pairs > 1:
        found.append(
            f"Each interval holds by itself: of {n_pairs} differences that are really 0, "
            f"{0.05 * n_pairs:.1f} would be shown by chance on average."
        )
    best = max(main_score_of(one["common"]) for one in comparison.summaries)
    found.append(
        f"Whoever chooses a study by this table chooses on test tracks: {100 * best:.1f} % is then "
        f"too optimistic. The intervals are about these ensembles on other tracks, not about "
        f"another search with the same settings."
    )
    return found
