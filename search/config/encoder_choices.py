"""The feature sets of several pretrained encoders: each one, and which of them together.

`features: {encoder: [birdnet, musicnn]}` stands for three feature sets, between which the search
chooses: `encoder-birdnet`, `encoder-musicnn` and `joined-birdnet+musicnn`.

`features: {encoder: {name: musicnn, fine_tune: [1, 2]}}` stands for three: `encoder-musicnn`, whose
weights are frozen, and `block_input-musicnn.1` and `.2`, on which networks train the last block of
the encoder or the last two.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from chorale.datasets.base import Layout
from chorale.datasets.features import layout_of, plugin_name

ENCODER, JOINED, BLOCK_INPUT = "encoder", "joined", "block_input"

ENCODER_LAYOUTS: tuple[Layout, ...] = ("embedding", "block_input")
"""The layouts of features that pretrained encoders compute."""

FINE_TUNE = "fine_tune"
"""The key beside the values of an encoder: how many of its last blocks are trained, or several
such numbers; 0 for none."""

MAX_SUBSETS_OF = 3
"""Of more encoders than these, the pairs and all together are joined, not every subset."""


def is_encoder(feature: str) -> bool:
    """Whether a feature set is the embedding of one encoder, and not of several joined."""
    return layout_of(feature) == "embedding" and plugin_name(feature) != JOINED


def with_encoders(features: Mapping[str, Any]) -> dict[str, Any]:
    """The feature sets of a sweep file, its encoders by name as one feature set each.

    Args:
        features: feature set -> its values; of `encoder` also a name, several names, or values with
            several names or layers, and how many blocks are fine-tuned.
    """
    found: dict[str, Any] = {}
    for name, values in features.items():
        named = _named(values) if name == ENCODER else None
        if named is None:
            found[name] = values
            continue
        numbers = _numbers(named.get(FINE_TUNE, 0))
        each = dict(_each({key: one for key, one in named.items() if key != FINE_TUNE}))
        found |= {f"{ENCODER}-{key}": one for key, one in each.items()}
        first = [key for key, one in each.items() if key == one["name"]]
        for keys in _together(first):
            parts = {f"{ENCODER}-{key}": each[key] for key in keys}
            found[f"{JOINED}-{'+'.join(keys)}"] = {"parts": parts}
        for key, one in each.items():
            kept = {name: value for name, value in one.items() if name not in _OF_EMBEDDINGS}
            found |= {f"{BLOCK_INPUT}-{key}.{n}": {**kept, FINE_TUNE: n} for n in numbers}
    return found


def fine_tune_problem(feature: str, values: Mapping[str, Any]) -> str:
    """Why the key `fine_tune` cannot be beside these values; empty if it is not there."""
    if plugin_name(feature) != ENCODER or FINE_TUNE not in values:
        return ""
    how = next((key for key in ("path", "bundle") if values.get(key)), "")
    given = f"one given by {how}" if how and not values.get("name") else f"'{feature}'"
    return (
        f"features.{feature}.{FINE_TUNE}: needs an encoder by its name, such as --features.encoder "
        f"'{{name: musicnn, {FINE_TUNE}: 1}}', but got {given}; leave {FINE_TUNE} out there"
    )


_OF_EMBEDDINGS = ("pool", "sample_rate", "chunk_s", "whole_windows", "bundle")
"""Keys of an encoder that concern its embeddings, or that it determines."""


def _numbers(fine_tune: Any) -> list[Any]:
    """The numbers of blocks that are fine-tuned; what is no number stays, to be refused."""
    several = isinstance(fine_tune, Sequence) and not isinstance(fine_tune, str)
    numbers = [
        int(n) if isinstance(n, bool) else n for n in (fine_tune if several else [fine_tune])
    ]
    return [n for n in dict.fromkeys(numbers) if n not in (0, None)]


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
