"""Names of baselines: "svm" on the chosen feature set, "svm (encoder-b)" on another one."""

import re

_ON_OTHER_FEATURES = re.compile(r"^(\w+) \((.+)\)$")


def baseline_name(kind: str, features: str = "") -> str:
    """The name of a classifier of `classifiers.GRIDS`; `features` if not those chosen for all."""
    return f"{kind} ({features})" if features else kind


def split_name(name: str) -> tuple[str, str]:
    """The classifier, and its feature set; the latter is empty for the one chosen for all."""
    found = _ON_OTHER_FEATURES.match(name)
    return (found[1], found[2]) if found else (name, "")
