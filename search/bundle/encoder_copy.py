"""Brings a frozen encoder's file into a bundle whose networks hear through it."""

from collections.abc import Mapping
from typing import Any

from chorale.datasets import features, plugins
from chorale.datasets.config import read
from chorale.datasets.errors import UserError
from chorale.search.bundle.writing import copy_file
from chorale.search.paths import BundlePaths

ENCODER = "encoder"
"""The feature set that needs a file of its own."""


def with_encoder(name: str, config: Mapping[str, Any], paths: BundlePaths) -> dict[str, Any]:
    """A feature set's config; a file that it names comes along, and is named by its place here."""
    if name != ENCODER:
        return dict(config)
    plugin = plugins.load(features, name, kind="feature set")
    # also the weights of a pipeline, which lie where torchaudio keeps them
    source = read(plugin.Config, config, where="the study's encoder").file
    try:
        copy_file(source, paths.encoders / source.name)
    except OSError as error:
        raise UserError(f"the encoder '{source}' cannot be read ({error}); bring it back") from None
    place = (paths.encoders / source.name).relative_to(paths.root).as_posix()
    return {**config, "path": place}
