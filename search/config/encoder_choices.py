"""The feature sets of several pretrained encoders: each one, and which of them together.

`features: {encoder: [birdnet, musicnn]}` stands for three feature sets, between which the search
chooses: `encoder-birdnet`, `encoder-musicnn` and `joined-birdnet+musicnn`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from chorale.datasets.features import layout_of, plugin_name

ENCODER, JOINED = "encoder", "joined"

MAX_SUBSETS_OF = 3
"""Of more encoders than these, the pairs and all together are joined, not every subset."""


def is_encoder(feature: str) -> bool:
    """Whether a feature set is the embedding of one encoder, and not of several joined."""
    return layout_of(feature) == "embedding" and plugin_name(feature) != JOINED


def with_encoders(features: Mapping[str, Any]) -> dict[str, Any]:
    """The feature sets of a sweep file, its encoders by name as one feature set each.

    Args:
        features: feature set -> its values; of `encoder` also a name, several names, or values with
            several names or layers.
    """
    found: dict[str, Any] = {}
    for name, values in features.items():
        named = _named(values) if name == ENCODER else None
        if named is None:
            found[name] = values
            continue
        each = dict(_each(named))
        found |= {f"{ENCODER}-{key}": one for key, one in each.items()}
        first = [key for key, one in each.items() if key == one["name"]]
        for keys in _together(first):
            parts = {f"{ENCODER}-{key}": each[key] for key in keys}
            found[f"{JOINED}-{'+'.join(keys)}"] = {"parts": parts}
    return found


def _named(values: Any) -> Mapping[str, Any] | None:
    """The values with the names as a list; None for an encoder that is given otherwise."""
    if isinstance(values, str):
        values = [one.strip() for one in values.split(",")]
    if isinstance(values, Sequence):
        values = {"name": values}
    if not isinstance(values, Mapping) or not values.get("name"):
        return None
    names = values["name"]
    return {**values, "name": [names] if isinstance(names, str) else list(dict.fromkeys(names))}


def _each(values: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name of a feature set, after the hyphen -> its values: of every encoder and layer."""
    layers = values.get("layer")
    for name in values["name"]:
        if not isinstance(layers, Sequence) or isinstance(layers, str):
            yield str(name), {**values, "name": name}
            continue
        for i, layer in enumerate(layers):  # the first one has the encoder's name
            yield (f"{name}.{layer}" if i else str(name)), {**values, "name": name, "layer": layer}


def _together(keys: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Which encoders are joined."""
    n = len(keys)
    sizes = range(2, n + 1) if n <= MAX_SUBSETS_OF else (2, n)
    for size in sizes:
        yield from combinations(keys, size)
