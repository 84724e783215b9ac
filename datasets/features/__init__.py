"""Feature sets: one file each, with a frozen `Config`, a `VERSION` and `extract(waveform, config)`.

`waveform` is mono float32 `(n_samples,)` at `config.sample_rate`; the result is float32
`(n_bins, n_frames)`, or `(n_features,)` for a set that describes the whole track by one vector.
`SPECTRAL` means that the bins of a frame are along a frequency axis, where neighbours are
correlated; the axes of an embedding, cepstral coefficients and the columns of a table are not.
`LAYOUT` is the shape of a track's features: architectures accept layouts, not feature sets.

A sweep may compute a feature set several times, with different configs: their names then begin with
that of the file, and differ after a hyphen (`encoder-birdnet`, `encoder-musicnn`).
"""

import sys
from collections.abc import Collection
from functools import cache
from typing import Any, cast

from chorale.datasets import plugins
from chorale.datasets.base import Layout
from chorale.datasets.declarations import read_declarations


def plugin_name(feature: str) -> str:
    """The file of a feature set: what stands before the first hyphen of its name."""
    return feature.partition("-")[0]


def is_feature_set(feature: str) -> bool:
    """Whether there is a file for it; precomputed columns may have none."""
    return plugin_name(feature) in plugins.plugin_names(sys.modules[__name__])


def load_feature_set(feature: str) -> Any:
    """The module of a feature set: `datasets.base.FeatureSet`, and what else its file has.

    Raises:
        UserError: there is none of that name; the error suggests the nearest one.
    """
    package = sys.modules[__name__]
    return plugins.load_plugin(package, plugin_name(feature), kind="feature set")


def feature_set_declarations(feature: str, names: Collection[str]) -> Any:
    """Like `load_feature_set`, but only what defines `names`, without heavy imports."""
    package, name = sys.modules[__name__], plugin_name(feature)
    return read_declarations(package, name, kind="feature set", names=names)


@cache
def layout_of(feature: str) -> Layout:
    """The layout of a feature set; precomputed columns without a feature set are a table."""
    if not is_feature_set(feature):
        return "table"
    return cast(Layout, feature_set_declarations(feature, ["LAYOUT"]).LAYOUT)


def with_layouts(layouts: tuple[Layout, ...]) -> tuple[str, ...]:
    """The feature sets of these layouts, those of the first one first."""
    names = plugins.plugin_names(sys.modules[__name__])
    return tuple(name for layout in layouts for name in names if layout_of(name) == layout)
