"""Model card of a bundle, as Markdown: purpose, scores, training data and limits.

Source: Mitchell et al. 2019, "Model Cards for Model Reporting", arXiv:1810.03993.
"""

from collections.abc import Mapping
from typing import Any

from chorale.search.evaluation.member_names import list_members
from chorale.search.report.report import headline_sentence


def model_card(report: Mapping[str, Any], *, licence: str) -> str:
    """The card, as Markdown, from a study's report and the licence of its data."""
    dataset, split, ensemble = report["dataset"], report["split"], report["ensemble"]
    calibration = report["calibration"]
    lines = [
        f"# {report['study']}",
        "",
        headline_sentence(report),
        "",
        "## What it does",
        "",
        f"Classifies a recording into one of {len(dataset['labels'])} classes: "
        f"{', '.join(map(_escaped, dataset['labels']))}. It gives calibrated probabilities, a "
        f"conformal set of classes that contains the true one in about "
        f"{report['conformal']['wanted']:.0%} of cases, and an out-of-distribution flag where "
        f"{_flagged(ensemble)} nearly all recordings of the development set: then it may be none "
        f"of these classes.",
        "",
        "    chorale predict FILE --bundle THIS_FOLDER",
        "",
        "## How good it is",
        "",
        "| | accuracy | 95 % interval | macro-F1 | log loss | calibration error | tracks |",
        "|---|---|---|---|---|---|---|",
        _row("out of fold", ensemble["out_of_fold"], calibration.get("out_of_fold")),
        _row("locked test set", ensemble["test"], calibration.get("test")),
        "",
        f"Log loss and calibration error are those of the probabilities "
        f"{'after' if 'test' in calibration else 'before'} calibration (temperature "
        f"{calibration['temperature']:.2f}). Protocol: {split['protocol']}. The test set had been "
        f"evaluated {report['test_looks']} times by then. Intervals come from a bootstrap over "
        f"groups, not tracks.",
        "",
        "| class | test tracks | precision | recall |",
        "|---|---|---|---|",
        *(
            f"| {_escaped(name)} | {one['n']} | {_share(one['precision'])} | "
            f"{_share(one['recall'])} |"
            for name, one in report["per_class"].items()
        ),
        "",
        "## Training data and members",
        "",
        f"Dataset {dataset['name']}: {dataset['n_tracks']} tracks of {dataset['n_groups']} groups "
        f"(fingerprint {dataset['fingerprint'][:12]}). Licence of the data: {licence}. Ensemble: "
        f"{ensemble['kind']} of {list_members(ensemble['members'])}; each trial was trained once "
        f"per fold, each baseline (a classical classifier) once on all folds.",
        "",
        "## Limits",
        "",
        "The scores hold for recordings like those of the dataset, by artists (or whatever its "
        "groups are) that were not in the training set. For other kinds of sound there is no "
        "estimate.",
        "",
    ]
    return "\n".join(lines)


def _flagged(ensemble: Mapping[str, Any]) -> str:
    """The condition of the out-of-distribution flag; a single network has no disagreement."""
    if len(ensemble["members"]) == 1:
        return "its confidence is lower than for"
    return "its members disagree more than for"


def _row(name: str, scores: Mapping[str, Any], calibrated: Mapping[str, Any] | None) -> str:
    low, high = scores["ci95"]
    after = scores if calibrated is None else calibrated["after"]
    return (
        f"| {name} | {scores['accuracy']:.1%} | {low:.1%} to {high:.1%} | {scores['macro_f1']:.3f} "
        f"| {after['log_loss']:.3f} | {after['ece']:.3f} | {scores['n']} |"
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _escaped(name: str) -> str:
    """A label with Markdown's special characters escaped."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|" else c for c in " ".join(name.split()))
