"""Label sets: the labels of a track as one text, for tracks that have several labels at once.

The column `label` of a track table has them joined by `;` in sorted order: "bass;drums;piano".
"""

from collections.abc import Iterable

LABEL_SEPARATOR = ";"


def labels_of(text: str) -> tuple[str, ...]:
    """The labels in `text`, sorted, each once, without spaces around them."""
    return tuple(sorted({name.strip() for name in text.split(LABEL_SEPARATOR)} - {""}))


def join_labels(names: Iterable[str]) -> str:
    """The text of a set of labels: sorted, each once, without spaces around them.

    A name must not contain `LABEL_SEPARATOR`; an empty one is left out.
    """
    return LABEL_SEPARATOR.join(sorted({name.strip() for name in names} - {""}))


def is_multi_label(texts: Iterable[str]) -> bool:
    """Whether any of a table's label texts has several labels."""
    return any(LABEL_SEPARATOR in text for text in texts)
