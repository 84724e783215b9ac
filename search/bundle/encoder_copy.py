"""Copies the weights of a frozen pretrained encoder into a bundle that uses it as feature set."""

from collections.abc import Mapping
from typing import Any

from chorale.datasets.config import read_config
from chorale.datasets.errors import UserError
from chorale.datasets.features import load_feature_set, plugin_name
from chorale.search.bundle.writing import copy_file
from chorale.search.paths import BundlePaths

_ENCODER = "encoder"
"""The feature set whose extractor needs a file of weights."""


def with_bundled_encoder(
    name: str, config: Mapping[str, Any], paths: BundlePaths
) -> dict[str, Any]:
    """Copies an encoder's weights into the bundle.

    Returns:
        The feature set's config; for an encoder, `path` is the copy's POSIX path below the bundle.

    Raises:
        UserError: the encoder cannot be read.
    """
    if plugin_name(name) != _ENCODER:
        return dict(config)
    plugin = load_feature_set(name)
    # `file` also resolves the weights of a pipeline in torchaudio's cache
    source = read_config(plugin.Config, config, where="the study's encoder").file
    try:
        copy_file(source, paths.encoders / source.name)
    except OSError as error:
        raise UserError(
            f"the encoder '{source}' cannot be read ({error}); put it back there"
        ) from None
    path = (paths.encoders / source.name).relative_to(paths.root).as_posix()
    return {**config, "path": path}
