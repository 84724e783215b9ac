"""What is said of a student: one sentence, and the model card in its bundle.

Source: Mitchell et al. 2019, "Model Cards for Model Reporting", arXiv:1810.03993.
"""

from collections.abc import Mapping
from typing import Any

from chorale.search.champion.pack.pack import Packed, licence_of
from chorale.search.training.latency import CLIP_S


def headline(found: Mapping[str, Any]) -> str:
    """What was chosen, how good it is and how sure that is, in a few plain sentences."""
    ensemble = found["variants"][0]
    chosen = next(one for one in found["variants"] if one["variant"] == found["chosen"])
    test, (low, high) = chosen["test"], chosen["test"]["ci95"]
    least, most = (100 * end for end in chosen["difference_ci95"])
    looks = found["test_looks"]
    return (
        f"The {chosen['variant']} names {test['accuracy']:.1%} of {test['n']} locked-away tracks "
        f"rightly (95 % interval {low:.1%} to {high:.1%}), the ensemble "
        f"{ensemble['test']['accuracy']:.1%}: {100 * chosen['difference']:+.1f} points (95 % "
        f"interval {least:+.1f} to {most:+.1f}). It takes {chosen['p50_ms']:.1f} ms for "
        f"{CLIP_S:.0f} s of sound on one thread, features included, where the ensemble takes "
        f"{ensemble['p50_ms']:.1f}. It was chosen out of fold; this test set has been looked at "
        f"{'once' if looks == 1 else f'{looks} times'}, of which all these figures are one look."
    )


def student_card(found: Mapping[str, Any], packed: Packed) -> str:
    """The card, as Markdown."""
    dataset, split = packed.report["dataset"], packed.report["split"]
    return "\n".join(
        [
            f"# {found['study']}",
            "",
            headline(found),
            "",
            "## What it is",
            "",
            f"One network that was taught, half by labels and half by what the ensemble of study "
            f"{found['teacher']} says, on all {split['n_development']} development tracks of "
            f"dataset {dataset['name']} (licence of the data: {licence_of(packed.sweep)}). Its "
            f"calibration and its sets of classes were learnt from networks that were taught the "
            f"same way without a fold, on the tracks of that fold.",
            "",
            "    chorale predict FILE --bundle THIS_FOLDER",
            "",
            "## Limits",
            "",
            "The figures hold for recordings like those of the dataset, by groups that it has not "
            "heard. It flags a recording that it is less sure of than of nearly all others.",
            "",
        ]
    )
