"""Model card of a bundle, as Markdown: purpose, scores, training data and limits.

Source: Mitchell et al. 2019, "Model Cards for Model Reporting", arXiv:1810.03993.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from chorale.datasets.base import EncoderInfo
from chorale.search.bundle.encoder_copy import licence_lines
from chorale.search.evaluation.member_names import list_members, list_seeds
from chorale.search.report.report import headline_sentence


def model_card(
    report: Mapping[str, Any],
    *,
    licence: str,
    encoders: Sequence[EncoderInfo] = (),
    fine_tuned: Collection[str] = (),
) -> str:
    """The card, as Markdown, from a study's report and the licence of its data.

    `encoders` are the pretrained ones that it uses, whose licences hold for the bundle as well;
    `fine_tuned` names those whose last blocks were trained.
    """
    dataset, split, ensemble = report["dataset"], report["split"], report["ensemble"]
    calibration, multi_label = report["calibration"], report.get("task") == "multi_label"
    lines = [
        f"# {report['study']}",
        "",
        headline_sentence(report),
        "",
        "## What it does",
        "",
        _labels_purpose(report) if multi_label else _class_purpose(report),
        "",
        "    chorale predict FILE --bundle THIS_FOLDER",
        "",
        "## How good it is",
        "",
        *(_LABELS_HEADER if multi_label else _CLASS_HEADER),
        _row("out of fold", ensemble["out_of_fold"], calibration.get("out_of_fold")),
        _row("locked test set", ensemble["test"], calibration.get("test")),
        "",
        f"Log loss and calibration error are those of the probabilities "
        f"{'after' if 'test' in calibration else 'before'} calibration (temperature "
        f"{calibration['temperature']:.2f}). Protocol: {split['protocol']}. The test set had been "
        f"evaluated {report['test_looks']} times by then. {_INTERVALS[multi_label]}",
        "",
        *(_labels_table(report) if multi_label else _class_table(report)),
        "",
        "## Training data and members",
        "",
        f"Dataset {dataset['name']}: {dataset['n_tracks']} tracks of {dataset['n_groups']} groups "
        f"(fingerprint {dataset['fingerprint'][:12]}). Licence of the data: {licence}. Ensemble: "
        f"{ensemble['kind']} of {list_members(ensemble['members'])}; each trial was trained once "
        f"per fold{_seeds(report)}, each baseline (a classical classifier) once on all folds.",
        "",
        *licence_lines(encoders, fine_tuned=fine_tuned),
        "## Limits",
        "",
        "The scores hold for recordings like those of the dataset, by artists (or whatever its "
        "groups are) that were not in the training set. For other kinds of sound there is no "
        "estimate.",
        "",
    ]
    return "\n".join(lines)


def _seeds(report: Mapping[str, Any]) -> str:
    """Which of the members were trained with several seeds; "" where none was."""
    of_members = {
        name: report.get("seeds", {}).get(str(name), [])
        for name in report["ensemble"]["members"]
        if not isinstance(name, str)
    }
    seeds = list_seeds(of_members)
    return f" and seed ({seeds})" if seeds else ""


_CLASS_HEADER = (
    "| | accuracy | 95 % interval | macro-F1 | log loss | calibration error | tracks |",
    "|---|---|---|---|---|---|---|",
)
_LABELS_HEADER = (
    "| | mAP | 95 % interval | lwlrap | macro-F1 | micro-F1 | log loss | calibration error "
    "| tracks |",
    "|---|---|---|---|---|---|---|---|---|",
)
_INTERVALS = {
    False: "Intervals are exact binomial ones for the effective number of independent tracks, as "
    "tracks of a group are alike.",
    True: "Intervals are of the mAP, by a jackknife over groups, not tracks. F1 scores are at the "
    "labels' thresholds.",
}


def _class_purpose(report: Mapping[str, Any]) -> str:
    labels = report["dataset"]["labels"]
    return (
        f"Classifies a recording into one of {len(labels)} classes: "
        f"{', '.join(map(_escaped, labels))}. It gives calibrated probabilities, a "
        f"conformal set of classes that contains the true one in about "
        f"{report['conformal']['wanted']:.0%} of cases, and an out-of-distribution flag where "
        f"{_flagged(report['ensemble'])} nearly all recordings of the development set: then it may "
        f"be none of these classes."
    )


def _labels_purpose(report: Mapping[str, Any]) -> str:
    labels = report["dataset"]["labels"]
    return (
        f"Tells which of {len(labels)} labels a recording has: "
        f"{', '.join(map(_escaped, labels))}. It gives a calibrated probability of each label, the "
        f"labels that reach their thresholds, of which there may be several or none, a conformal "
        f"set that contains on average about {report['conformal']['wanted']:.0%} of a recording's "
        f"labels, and an out-of-distribution flag where, over all labels, "
        f"{_flagged(report['ensemble'])} nearly all recordings of the development set."
    )


def _class_table(report: Mapping[str, Any]) -> list[str]:
    return [
        "| class | test tracks | precision | recall |",
        "|---|---|---|---|",
        *(
            f"| {_escaped(name)} | {one['n']} | {_share(one['precision'])} | "
            f"{_share(one['recall'])} |"
            for name, one in report["per_class"].items()
        ),
    ]


def _labels_table(report: Mapping[str, Any]) -> list[str]:
    """Precision and recall are at the thresholds, which are of calibrated probabilities."""
    return [
        "| label | test tracks | average precision | threshold | precision | recall |",
        "|---|---|---|---|---|---|",
        *(
            f"| {_escaped(name)} | {one['n']} | {_share(one['average_precision'])} | "
            f"{one['threshold']:.3f} | {_share(one['precision'])} | {_share(one['recall'])} |"
            for name, one in report["per_class"].items()
        ),
    ]


def _flagged(ensemble: Mapping[str, Any]) -> str:
    """The condition of the out-of-distribution flag; a single network has no disagreement."""
    if len(ensemble["members"]) == 1:
        return "its confidence is lower than for"
    return "its members disagree more than for"


def _row(name: str, scores: Mapping[str, Any], calibrated: Mapping[str, Any] | None) -> str:
    low, high = scores["ci95"]
    after = scores if calibrated is None else calibrated["after"]
    if "mAP" in scores:
        return (
            f"| {name} | {scores['mAP']:.1%} | {low:.1%} to {high:.1%} | {scores['lwlrap']:.3f} "
            f"| {scores['macro_f1']:.3f} | {scores['micro_f1']:.3f} | {after['log_loss']:.3f} "
            f"| {after['ece']:.3f} | {scores['n']} |"
        )
    return (
        f"| {name} | {scores['accuracy']:.1%} | {low:.1%} to {high:.1%} | {scores['macro_f1']:.3f} "
        f"| {after['log_loss']:.3f} | {after['ece']:.3f} | {scores['n']} |"
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _escaped(name: str) -> str:
    """A label with Markdown's special characters escaped."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|" else c for c in " ".join(name.split()))
