"""Copies the weights of frozen pretrained encoders into a bundle that uses them as feature sets."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from chorale.datasets.base import EncoderInfo
from chorale.datasets.config import read_config
from chorale.datasets.errors import UserError
from chorale.datasets.features import load_feature_set, plugin_name
from chorale.datasets.pretrained.installed import is_shipped_encoder
from chorale.search.bundle.writing import copy_file
from chorale.search.paths import BundlePaths

_ENCODER, _BLOCK_INPUT = "encoder", "block_input"
"""The feature sets whose extractors need a file of weights. Networks on the second one also hold
weights that were trained from those of the encoder."""


_DERIVED = (
    " Networks of this bundle hold its last blocks, fine-tuned: the licence of the weights holds "
    "for these as well."
)


def with_bundled_encoder(
    name: str,
    config: Mapping[str, Any],
    paths: BundlePaths,
    *,
    used: dict[str, EncoderInfo] | None = None,
) -> dict[str, Any]:
    """Copies an encoder's weights into the bundle, unless their licence forbids that.

    Args:
        name: of the feature set.
        config: its config in the study.
        paths: the bundle's.
        used: is given the encoders with a name, for the licences in the bundle's card.

    Returns:
        The feature set's config; for an encoder, `path` is the copy's POSIX path below the bundle.
        It is left out where nothing may be copied: then the encoder is fetched by its name.

    Raises:
        UserError: the encoder cannot be read; or networks hold fine-tuned weights of one whose
            licence forbids to pass them on.
    """
    if "parts" in config:  # of joined feature sets
        parts = {
            key: with_bundled_encoder(key, one, paths, used=used)
            for key, one in config["parts"].items()
        }
        return {**config, "parts": parts}
    if plugin_name(name) not in (_ENCODER, _BLOCK_INPUT):
        return dict(config)
    # `file` also resolves the weights of a pipeline in torchaudio's cache
    made = read_config(load_feature_set(name).Config, config, where="the study's encoder")
    info = made.info
    if info is None:
        return {**config, "path": _copied(made.file, paths.encoders, paths)}
    if used is not None:
        used[info.name] = info
    if not info.may_bundle:
        if plugin_name(name) == _BLOCK_INPUT:
            raise UserError(
                f"a bundle of networks that were fine-tuned from {info.name} would pass on weights "
                f"derived from its own, which their licence forbids ({info.weights_licence}); run "
                f"the sweep without fine_tune for a bundle"
            )
        return dict(config)
    folder = paths.encoders / info.name
    found = {**config, "path": _copied(made.file, folder, paths)}
    names = {PurePosixPath(one.member).name for one in info.weights} - {made.file.name}
    for beside in (made.file.parent / name for name in sorted(names)):
        if beside.is_file():  # a second file that it reads, and not what was converted
            _copied(beside, folder, paths)
    if not is_shipped_encoder(info.name):  # another machine does not know the name
        found |= {"name": "", "layer": None}
    return found


def fine_tuned_encoders(features: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """The names of the encoders whose last blocks networks on these feature sets have trained.

    Args:
        features: feature set -> its config.
    """
    return frozenset(
        str(config["name"])
        for name, config in features.items()
        if plugin_name(name) == _BLOCK_INPUT
    )


def licence_lines(
    encoders: Iterable[EncoderInfo], *, fine_tuned: Collection[str] = ()
) -> list[str]:
    """Markdown for a card: each encoder's licence and source, and whether its weights are there.

    `fine_tuned` names those whose last blocks were trained.
    """
    lines = []
    for one in encoders:
        fetch = f"not in this bundle, as their licence forbids it: chorale encoder fetch {one.name}"
        where = "in this bundle" if one.may_bundle else fetch
        lines.append(
            f"- {one.title}, trained on {one.trained_on}. Weights ({where}): "
            f"{one.weights_licence}. {one.citation}. {one.homepage}".rstrip()
            + (_DERIVED if one.name in fine_tuned else "")
        )
    return ["## Pretrained encoders", "", *lines, ""] if lines else []


def _copied(source: Path, folder: Path, paths: BundlePaths) -> str:
    """The POSIX path below the bundle of a copy of `source` in `folder`."""
    try:
        copy_file(source, folder / source.name)
    except OSError as error:
        raise UserError(
            f"the encoder '{source}' cannot be read ({error}); put it back there"
        ) from None
    return (folder / source.name).relative_to(paths.root).as_posix()
