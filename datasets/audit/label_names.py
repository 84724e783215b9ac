"""Labels that differ only in case, spaces, hyphens or leading zeros: often one class twice.

The sweep and `chorale data check` point them out; they are never merged without the user's word.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping

SIMILAR_LABELS = "similar labels"
"""The problem's name in the table of faults."""

_SEPARATORS = re.compile(r"[\s_\-./']+")


def similar_labels(counts: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Groups of labels that are nearly equal, each with the most frequent label first.

    Of equally frequent ones the shortest is first, and lower case before upper case.

    Args:
        counts: label -> its number of tracks.
    """
    near: dict[str, list[str]] = {}
    for label in sorted(counts, key=lambda label: (-counts[label], len(label), label.swapcase())):
        near.setdefault(_key(label), []).append(label)
    return [tuple(labels) for labels in near.values() if len(labels) > 1]


def similar_text(labels: Iterable[str], counts: Mapping[str, int]) -> str:
    """Nearly equal labels, and what to write in a sweep if they are one.

    The most frequent comes first and is the label that the others become.
    """
    first, *others = labels
    every = ", ".join(f"'{label}' ({counts[label]})" for label in (first, *others))
    old = ", ".join(_yaml(label) for label in others)
    return (
        f"{every} are nearly the same; if they are one label, write labels: "
        f"{{merge: {{{_yaml(first)}: [{old}]}}}} in the sweep file, or --labels.merge "
        f"'{{{_yaml(first)}: [{old}]}}'"
    )


def _key(label: str) -> str:
    """Equal for labels that differ only in how they are written."""
    try:
        return f"number {float(label.strip())}"
    except ValueError:
        text = unicodedata.normalize("NFKC", label).casefold()
        return _SEPARATORS.sub("", text) or text


def _yaml(label: str) -> str:
    """A label as it is written in a flow mapping of YAML."""
    import yaml

    plain = re.fullmatch(r"[A-Za-z_][\w -]*\w|[A-Za-z_]", label)
    is_plain = plain is not None and yaml.safe_load(label) == label  # not so for "yes" and "no"
    return label if is_plain else json.dumps(label, ensure_ascii=False)
