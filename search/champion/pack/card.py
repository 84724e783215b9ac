"""The model card that lies in a bundle: what it is for, how good it is, and what nobody knows.

Source: Mitchell et al. 2019, "Model Cards for Model Reporting", arXiv:1810.03993.
"""

from collections.abc import Mapping
from typing import Any

from chorale.search.evaluation.member_names import listed
from chorale.search.report.report import headline


def model_card(report: Mapping[str, Any], *, licence: str) -> str:
    """The card, as Markdown, from a study's report and the licence of its data."""
    dataset, split, ensemble = report["dataset"], report["split"], report["ensemble"]
    sure = report["calibration"]
    lines = [
        f"# {report['study']}",
        "",
        headline(report),
        "",
        "## What it does",
        "",
        f"Names one of {len(dataset['labels'])} classes for a recording: "
        f"{', '.join(map(_escaped, dataset['labels']))}. It gives calibrated probabilities, a "
        f"set of classes that holds the true one in about {report['conformal']['wanted']:.0%} of "
        f"cases, and a flag where {_flagged(ensemble)} nearly all recordings that it was "
        f"developed on: then it may be none of these.",
        "",
        "    chorale predict FILE --bundle THIS_FOLDER",
        "",
        "## How good it is",
        "",
        "| | accuracy | 95 % interval | macro-F1 | log loss | calibration error | tracks |",
        "|---|---|---|---|---|---|---|",
        _row("out of fold", ensemble["out_of_fold"], sure.get("out_of_fold")),
        _row("locked test set", ensemble["test"], sure.get("test")),
        "",
        f"Log loss and calibration error are of the probabilities "
        f"{'that it gives' if 'test' in sure else 'before they are calibrated'} (temperature "
        f"{sure['temperature']:.2f}). Protocol: {split['protocol']}. The test set had been looked "
        f"at {report['test_looks']} times by then. Intervals are of drawing groups, not tracks.",
        "",
        "| class | test tracks | precision | recall |",
        "|---|---|---|---|",
        *(
            f"| {_escaped(name)} | {one['n']} | {_share(one['precision'])} | "
            f"{_share(one['recall'])} |"
            for name, one in report["per_class"].items()
        ),
        "",
        "## What it was made of",
        "",
        f"Dataset {dataset['name']}: {dataset['n_tracks']} tracks of {dataset['n_groups']} groups "
        f"(fingerprint {dataset['fingerprint'][:12]}). Licence of the data: {licence}. Ensemble: "
        f"{ensemble['kind']} of {listed(ensemble['members'])}; each trial was trained once for "
        f"every fold, each baseline (a classical classifier) once on all of them.",
        "",
        "## Limits",
        "",
        "The figures hold for recordings like those of the dataset, by artists (or whatever its "
        "groups are) that it has not heard. Of other kinds of sound it knows nothing.",
        "",
    ]
    return "\n".join(lines)


def _flagged(ensemble: Mapping[str, Any]) -> str:
    """What tells of a recording that is none of these; a single network has nobody to disagree."""
    if len(ensemble["members"]) == 1:
        return "it is less sure than it is of"
    return "its members disagree more than they do about"


def _row(name: str, scores: Mapping[str, Any], calibrated: Mapping[str, Any] | None) -> str:
    low, high = scores["ci95"]
    sure = scores if calibrated is None else calibrated["after"]
    return (
        f"| {name} | {scores['accuracy']:.1%} | {low:.1%} to {high:.1%} | {scores['macro_f1']:.3f} "
        f"| {sure['log_loss']:.3f} | {sure['ece']:.3f} | {scores['n']} |"
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _escaped(name: str) -> str:
    """A label as Markdown shows it as it is."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|" else c for c in " ".join(name.split()))
