"""The variants of an ensemble side by side: what each says, how long it takes, how large it is.

Which one is chosen goes by out-of-fold accuracy and latency; the test set is scored afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

from chorale.lightning_models.metrics import accuracy
from chorale.search.statistics.arrays import Groups, Labels, Proba
from chorale.search.statistics.scores import paired_difference, score
from chorale.search.training.latency import Latency


@dataclass(frozen=True)
class Variant:
    """One way to run what was learnt.

    `out_of_fold` (n_development, n_classes), none where nobody asked; `test` (n_test, n_classes).
    `can_be_chosen` says that it is a bundle smaller than the ensemble.
    """

    name: str
    out_of_fold: Proba | None
    test: Proba
    latency: Latency
    size_mb: float
    note: str = ""
    can_be_chosen: bool = False


def choose(variants: Sequence[Variant], labels: Labels, *, limit_ms: float) -> Variant | None:
    """The best out of fold of those that keep to the limit; of equals the fastest; None if none.

    Args:
        variants: all.
        labels: (n_development,).
        limit_ms: of the processor's time.
    """

    def rank(one: Variant) -> tuple[float, float]:
        if one.out_of_fold is None:
            raise ValueError(f"{one.name} was never asked out of fold, so it cannot be chosen")
        return accuracy(one.out_of_fold, labels), -one.latency.processor_ms

    able = [v for v in variants if v.can_be_chosen and v.latency.processor_ms <= limit_ms]
    return max(able, key=rank, default=None)


def lines(
    variants: Sequence[Variant],
    *,
    development: Labels,
    test: Labels,
    groups: Groups,
) -> list[dict[str, Any]]:
    """A line for each variant, JSON-ready; this is what looks at the test set.

    `difference` is how much higher its test accuracy is than the first one's, with its interval.
    """
    found = []
    for one in variants:
        gain, ci95 = paired_difference(one.test, variants[0].test, test, groups)
        said = one.out_of_fold
        found.append(
            {
                "variant": one.name,
                "test": score(one.test, test, groups).as_dict(),
                "out_of_fold": None if said is None else accuracy(said, development),
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


def table(found: Mapping[str, Any]) -> Table:
    """The table of what `search.champion.compress.run` found."""
    shown = Table(title=f"study {found['study']}", title_justify="left", box=box.SIMPLE_HEAD)
    columns = (
        "variant", "test", "95 % interval", "less the ensemble", "out of fold",
        "p50 ms", "p99 ms", "processor ms", "MB", "note",
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
            f"{one['test']['accuracy']:.1%}",
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
