"""Feature sets: one file each, with a frozen `Config`, a `VERSION` and `extract(waveform, config)`.

`waveform` is mono float32 `(n_samples,)` at `config.sample_rate`; the result is float32
`(n_bins, n_frames)`, or `(n_features,)` for a set that describes the whole track by one vector.
`SPECTRAL` means that the bins of a frame are along a frequency axis, where neighbours are
correlated; the axes of an embedding, cepstral coefficients and the columns of a table are not.
`LAYOUT` is the shape of a track's features: architectures accept layouts, not feature sets.
"""

import sys
from functools import cache
from typing import cast

from chorale.datasets import plugins
from chorale.datasets.base import Layout
from chorale.datasets.declarations import read_declarations


@cache
def layout_of(feature: str) -> Layout:
    """The layout of a feature set; precomputed columns without a feature set are a table."""
    package = sys.modules[__name__]
    if feature not in plugins.plugin_names(package):
        return "table"
    declared = read_declarations(package, feature, kind="feature set", names=["LAYOUT"])
    return cast(Layout, declared.LAYOUT)


def with_layouts(layouts: tuple[Layout, ...]) -> tuple[str, ...]:
    """The feature sets of these layouts, those of the first one first."""
    names = plugins.plugin_names(sys.modules[__name__])
    return tuple(name for layout in layouts for name in names if layout_of(name) == layout)
