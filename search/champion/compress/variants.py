"""Comparison of a compressed model's variants: accuracy, latency and size of each.

One is chosen by out-of-fold accuracy and latency; the test set is evaluated afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from chorale.lightning_models.multi_label_metrics import main_score
from chorale.search.statistics.arrays import Groups, Labels, Proba
from chorale.search.statistics.main_score import main_score_of
from chorale.search.statistics.scores import json_scores, paired_difference
from chorale.search.statistics.thresholds import fit_thresholds
from chorale.search.training.latency import Latency


@dataclass(frozen=True)
class Variant:
    """One form of the model: ensemble, single network, student, pruned student or ONNX graph.

    `out_of_fold` (n_development, n_classes) and `test` (n_test, n_classes) are its predictions;
    `out_of_fold` is None where they were not computed. `can_be_chosen` is true for a bundle that
    is smaller than the ensemble. `thresholds` (n_classes,) are those of multi-label F1 scores where
    `out_of_fold` is None; otherwise they are fitted on it.
    """

    name: str
    out_of_fold: Proba | None
    test: Proba
    latency: Latency
    size_mb: float
    note: str = ""
    can_be_chosen: bool = False
    thresholds: tuple[float, ...] = ()


def choose_variant(
    variants: Sequence[Variant], labels: Labels, *, limit_ms: float
) -> Variant | None:
    """The variant of highest out-of-fold accuracy within the latency limit; None if none is.

    Of equally accurate ones the fastest. Where multi-label, the mAP takes the accuracy's place.

    Args:
        variants: all.
        labels: (n_development,), or (n_development, n_classes) of 0 and 1.
        limit_ms: of CPU time.
    """

    def rank(one: Variant) -> tuple[float, float]:
        if one.out_of_fold is None:
            raise ValueError(f"{one.name} has no out-of-fold predictions, so it cannot be chosen")
        return main_score(one.out_of_fold, labels), -one.latency.processor_ms

    eligible = [v for v in variants if v.can_be_chosen and v.latency.processor_ms <= limit_ms]
    return max(eligible, key=rank, default=None)


def variant_rows(
    variants: Sequence[Variant],
    *,
    development: Labels,
    test: Labels,
    groups: Groups,
) -> list[dict[str, Any]]:
    """A JSON-ready row for each variant; this evaluates the test set.

    `difference` is its test accuracy (multi-label: mAP) minus that of the first variant, with a
    paired interval.
    """
    found = []
    for one in variants:
        gain, ci95 = paired_difference(one.test, variants[0].test, test, groups)
        kept = one.out_of_fold
        found.append(
            {
                "variant": one.name,
                "test": _test_scores(one, development, test, groups),
                "out_of_fold": None if kept is None else main_score(kept, development),
                "difference": gain,
                "difference_ci95": list(ci95),
                "p50_ms": one.latency.p50_ms,
                "p99_ms": one.latency.p99_ms,
                "processor_ms": one.latency.processor_ms,
                "size_mb": one.size_mb,
                "note": one.note,
            }
        )
    return found


def _test_scores(one: Variant, development: Labels, test: Labels, groups: Groups) -> dict[str, Any]:
    thresholds = np.array(one.thresholds)
    if test.ndim == 2 and one.out_of_fold is not None:
        thresholds = fit_thresholds(one.out_of_fold, development)
    return json_scores(one.test, test, groups, thresholds=thresholds)


def variants_table(found: Mapping[str, Any]) -> Table:
    """The table of the variants in the result of `search.champion.compress.run`."""
    shown = Table(title=f"study {found['study']}", title_justify="left", box=box.SIMPLE_HEAD)
    test = "test mAP" if "mAP" in found["variants"][0]["test"] else "test"
    columns = (
        "variant", test, "95 % interval", "minus ensemble", "out of fold",
        "p50 ms", "p99 ms", "CPU ms", "MB", "note",
    )  # fmt: skip
    for name in columns:
        left = name in ("variant", "note")
        shown.add_column(name, justify="left" if left else "right", no_wrap=name != "note")
    for i, one in enumerate(found["variants"]):
        low, high = one["test"]["ci95"]
        least, most = (100 * end for end in one["difference_ci95"])
        chosen = one["variant"] == found["chosen"]
        shown.add_row(
            one["variant"] + (" *" if chosen else ""),
            f"{main_score_of(one['test']):.1%}",
            f"{low:.1%} - {high:.1%}",
            "" if i == 0 else f"{100 * one['difference']:+.1f} ({least:+.0f} to {most:+.0f})",
            "" if one["out_of_fold"] is None else f"{one['out_of_fold']:.1%}",
            f"{one['p50_ms']:.1f}",
            f"{one['p99_ms']:.1f}",
            f"{one['processor_ms']:.1f}",
            f"{one['size_mb']:.2f}",
            one["note"],
            style="bold" if chosen else "",
        )
    return shown
