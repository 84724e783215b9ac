"""Model card and summary of a compressed model (student).

Source: Mitchell et al. 2019, "Model Cards for Model Reporting", arXiv:1810.03993.
"""

from collections.abc import Mapping
from typing import Any

from chorale.search.champion.pack.pack import BundleContents, licence_of
from chorale.search.statistics.main_score import main_score_of, metric_name
from chorale.search.training.latency import CLIP_S


def compression_summary(found: Mapping[str, Any]) -> str:
    """The chosen variant, its accuracy (or mAP), intervals and latency, in a few sentences."""
    ensemble = found["variants"][0]
    chosen = next(one for one in found["variants"] if one["variant"] == found["chosen"])
    test, (low, high) = chosen["test"], chosen["test"]["ci95"]
    least, most = (100 * end for end in chosen["difference_ci95"])
    looks, metric = found["test_looks"], metric_name(test)
    what = f"classifies {main_score_of(test):.1%} of {test['n']} locked test tracks correctly"
    if metric == "mAP":
        what = f"has a mAP of {main_score_of(test):.1%} on {test['n']} locked test tracks"
    return (
        f"The {chosen['variant']} {what} (95 % interval {low:.1%} to {high:.1%}), the ensemble "
        f"{main_score_of(ensemble['test']):.1%}: {100 * chosen['difference']:+.1f} points (95 % "
        f"interval {least:+.1f} to {most:+.1f}). It takes {chosen['p50_ms']:.1f} ms for "
        f"{CLIP_S:.0f} s of audio on one thread, features included, the ensemble "
        f"{ensemble['p50_ms']:.1f} ms. It was chosen by out-of-fold {metric}; this test set has "
        f"been evaluated {'once' if looks == 1 else f'{looks} times'}, and all these figures come "
        f"from one evaluation."
    )


def student_card(found: Mapping[str, Any], contents: BundleContents) -> str:
    """The card, as Markdown."""
    dataset, split = contents.report["dataset"], contents.report["split"]
    fitted, over = "conformal sets", ""
    if contents.truth.multi_label:
        fitted, over = "conformal sets, and the threshold of each label,", " over all labels"
    return "\n".join(
        [
            f"# {found['study']}",
            "",
            compression_summary(found),
            "",
            "## What it is",
            "",
            f"One network, distilled on all {split['n_development']} development tracks of dataset "
            f"{dataset['name']} (licence of the data: {licence_of(contents.sweep)}): its targets "
            f"are half the labels, half the predictions of the ensemble of study "
            f"{found['teacher']}. Its calibration and {fitted} were fitted on out-of-fold "
            f"predictions of networks that were trained in the same way without one fold.",
            "",
            "    chorale predict FILE --bundle THIS_FOLDER",
            "",
            "## Limits",
            "",
            "The scores hold for recordings like those of the dataset, of groups that were not in "
            f"the training set. A recording with lower confidence{over} than nearly all others is "
            f"flagged as out of distribution.",
            "",
        ]
    )
