"""The last blocks of a pretrained encoder, as modules to be trained.

The feature set `block_input` caches their input; the architecture `encoder_blocks` trains them.
Which encoders offer blocks is declared in `EncoderInfo.blocks`.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.datasets import encoders
from chorale.datasets.errors import UserError
from chorale.datasets.plugins import plugin_names
from chorale.datasets.pretrained.installed import (
    encoder_info,
    encoder_module,
    fetch_advice,
    require_fetched,
)
from chorale.datasets.pretrained.running import EncoderSource, require_file
from chorale.datasets.programs.exported_program import ProgramError

if TYPE_CHECKING:
    from torch import Tensor, nn


def default_layer(name: str) -> str:
    """The preferred output of an encoder before which blocks can be fine-tuned; empty: none.

    Raises:
        UserError: no encoder has that name.
    """
    info = encoder_info(name)
    return next((layer for layer in info.layers if info.blocks.get(layer)), "")


def check_blocks(name: str, *, layer: str, n_blocks: int) -> None:
    """Checks that an encoder has so many blocks before a layer that can be fine-tuned.

    Raises:
        UserError: it has not; or no encoder has that name.
    """
    info = encoder_info(name)
    if not info.blocks:
        able = ", ".join(one for one in plugin_names(encoders) if encoder_info(one).blocks)
        raise UserError(
            f"{name} cannot be fine-tuned, as its blocks are not known one by one, but got "
            f"fine_tune={n_blocks}; leave fine_tune out, or fine-tune one of: {able}"
        )
    if layer not in info.blocks:
        raise UserError(
            f"{name} can be fine-tuned before its outputs {', '.join(info.blocks)}, but got "
            f"layer={layer}; give one of these"
        )
    most = info.blocks[layer]
    if not 1 <= n_blocks <= most:
        raise UserError(
            f"{name} has {most} blocks before its output {layer} that can be fine-tuned, but got "
            f"fine_tune={n_blocks}; give 1 to {most}"
        )


def published_blocks(source: EncoderSource) -> "nn.Module":
    """New last blocks with the published weights, which no other training has touched.

    Args:
        source: with a name, a layer, and a number of blocks.

    Raises:
        UserError: the file is missing, another one than meant, or damaged.
    """
    made = blocks_structure(source.name, layer=str(source.layer), n_blocks=source.n_blocks)
    require_file(source)
    made.load_state_dict(_published(source))  # a copy
    return made


def blocks_structure(name: str, *, layer: str, n_blocks: int) -> "nn.Module":
    """The last blocks with any weights, for those of a checkpoint: it needs no file.

    Raises:
        UserError: there is no such encoder, or it has not so many blocks.
    """
    check_blocks(name, layer=layer, n_blocks=n_blocks)
    module: Any = encoder_module(name)
    made: nn.Module = module.last_blocks(None, layer=layer, n_blocks=n_blocks)
    return made


@lru_cache(maxsize=2)
def _published(source: EncoderSource) -> "dict[str, Tensor]":
    """Kept from trial to trial; never changed. No random number of the caller's is drawn, or the
    first network of a process would differ from the others.
    """
    import torch

    module: Any = encoder_module(source.name)
    layer, n_blocks = str(source.layer), source.n_blocks
    try:
        with torch.random.fork_rng(devices=[]):
            made = module.last_blocks(source.file, layer=layer, n_blocks=n_blocks)
    except ProgramError as error:
        raise UserError(
            f"encoder '{source.name}': '{source.file}' {error}; {fetch_advice(source.name)}"
        ) from None
    return {name: value.detach().clone() for name, value in made.state_dict().items()}


def source_file(name: str, path: str) -> Path:
    """The encoder's file: the one at `path`, or, if that is empty, the one that was fetched.

    Raises:
        UserError: it has not been fetched.
    """
    return Path(path).expanduser() if path else require_fetched(name)
