"""The pretrained encoders that this machine knows, and where their weights are.

Encoders are shipped (a file in `datasets/encoders`) or added by a user (a folder with
`encoder.json`, see `datasets.pretrained.added`). Nothing here imports a heavy library, except
`load_encoder`.
"""

import os
from pathlib import Path
from types import ModuleType
from typing import Any

from chorale.datasets import encoders
from chorale.datasets.base import ALL_LAYERS, EncoderInfo
from chorale.datasets.declarations import read_declarations
from chorale.datasets.errors import UserError, unknown_name_error
from chorale.datasets.plugins import load_plugin, plugin_names
from chorale.datasets.pretrained.added import added_names, load_added, read_added
from chorale.datasets.programs.windows import Windows

FOLDER_VARIABLE = "CHORALE_ENCODERS"
"""The environment variable that names the encoders' folder."""


def encoders_folder() -> Path:
    """The folder that has a folder for each encoder; it may not exist.

    It is `$CHORALE_ENCODERS`, else `$XDG_DATA_HOME/chorale/encoders`, else
    `~/.local/share/chorale/encoders`.
    """
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "chorale" / "encoders"


def encoder_names() -> tuple[str, ...]:
    """The names of all encoders, shipped and added, sorted."""
    return tuple(sorted({*plugin_names(encoders), *added_names(encoders_folder())}))


def is_shipped_encoder(name: str) -> bool:
    """Whether the encoder is a file in `datasets/encoders`."""
    return name in plugin_names(encoders)


def encoder_info(name: str) -> EncoderInfo:
    """Metadata of an encoder, read without importing what runs it.

    Raises:
        UserError: no encoder has that name (the nearest one is suggested), or the `encoder.json` of
            an added one is damaged.
    """
    if is_shipped_encoder(name):
        declared: Any = read_declarations(encoders, name, kind="encoder", names=("INFO",))
        info: EncoderInfo = declared.INFO
        return info
    folder = encoders_folder()
    if name not in added_names(folder):
        raise unknown_name_error("encoder", name, encoder_names())
    return read_added(folder / name)


def weights_path(name: str) -> Path:
    """The file that the encoder is loaded from; it may not exist.

    Raises:
        UserError: as `encoder_info`.
    """
    return encoders_folder() / name / encoder_info(name).file_name


def is_fetched(name: str) -> bool:
    """Whether the encoder's file is on this machine; its content is not checked.

    Raises:
        UserError: as `encoder_info`.
    """
    return weights_path(name).is_file()


def require_fetched(name: str) -> Path:
    """The file that the encoder is loaded from.

    Raises:
        UserError: it is not on this machine (the error says what to type); or as `encoder_info`.
    """
    path = weights_path(name)
    if not path.is_file():
        raise UserError(f"encoder '{name}' has not been fetched; {fetch_advice(name)}")
    return path


def fetch_advice(name: str) -> str:
    """What to do to get an encoder's file: "type: chorale encoder fetch musicnn".

    Raises:
        UserError: as `encoder_info`.
    """
    info = encoder_info(name)
    if info.weights or info.web_file:
        return f"type: {fetch_command(info)}"
    if not is_shipped_encoder(name):
        return info.how_to_get
    return f"{info.how_to_get}, then type: {fetch_command(info)} --file FILE"


def fetch_command(info: EncoderInfo) -> str:
    """The command that fetches an encoder, with `--accept` where its licence must be accepted."""
    return f"chorale encoder fetch {info.name}{' --accept' if info.must_accept else ''}"


def load_encoder(name: str, file: Path, *, layer: str, device: str) -> Windows:
    """An encoder as a function on windows.

    Args:
        name: a shipped or an added encoder.
        file: what it is loaded from: that of `require_fetched`, or a copy of it.
        layer: one of `encoder_info(name).layers`, or, of several, `ALL_LAYERS`.
        device: "cpu" or "cuda".

    Returns:
        A function from float32 `(n_windows, n_samples)` to float32
        `(n_windows, n_frames, n_bins)`.

    Raises:
        UserError: no encoder or layer has that name.
        ProgramError: the file is damaged, or is no such network.
    """
    info = encoder_info(name)
    if layer not in (*info.layers, *([ALL_LAYERS] if len(info.layers) > 1 else [])):
        raise unknown_name_error(f"layer of encoder '{name}'", layer, info.layers)
    if not is_shipped_encoder(name):
        return load_added(file, layer=layer, device=device)
    encoder: Any = encoder_module(name)
    run: Windows = encoder.load(file, layer=layer, device=device)
    return run


def encoder_module(name: str) -> ModuleType:
    """The file of a shipped encoder, imported.

    Raises:
        UserError: no shipped encoder has that name.
    """
    return load_plugin(encoders, name, kind="encoder")
