"""Adds a user's own network to the encoders' folder, after running it once.

`chorale encoder add` calls `add_encoder`; `datasets.pretrained.added` reads what it writes.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chorale.datasets.atomic import publish_folder, write_json
from chorale.datasets.base import EncoderInfo
from chorale.datasets.config import read_config, to_plain_values
from chorale.datasets.content import file_sha256
from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.added import (
    LAYER,
    NAME,
    RECORD_NAME,
    AddedEncoder,
    load_added,
    one_line,
    require_loader,
)
from chorale.datasets.pretrained.folder_lock import encoder_lock, temporary_prefix
from chorale.datasets.pretrained.installed import encoder_info, encoders_folder, is_shipped_encoder
from chorale.datasets.pretrained.noise_run import NoiseRunError, run_on_noise
from chorale.datasets.programs.exported_program import ProgramError


def add_encoder(
    name: str,
    file: Path,
    *,
    sample_rate: int,
    window_s: float | None = None,
    licence: str = "",
    title: str = "",
) -> EncoderInfo:
    """Copies a network into the encoders' folder, with an `encoder.json` that describes it.

    Args:
        name: what it will be called: lower-case letters, digits and `_`.
        file: the network, of one of the kinds in `datasets.pretrained.added.LOADERS`. It takes
            `(1, n_samples)` and returns `(1, n_frames, n_bins)` or `(1, n_bins)`.
        sample_rate: Hz of its input.
        window_s: seconds of its input; None: it takes any length.
        licence: the licence of its weights.
        title: what it is; by default the name of its file.

    Returns:
        Its metadata; the number of values in a frame has been measured.

    Raises:
        UserError: the name is not allowed or is used already; there is no such file, or it is of
            another kind; or the network fails on noise.
        OSError: the encoders' folder cannot be written.
    """
    _require_free_name(name, encoders_folder())
    if not file.is_file():
        raise UserError(f"there is no file '{file}'; give the network with --file FILE")
    require_loader(file)
    with encoder_lock(name) as folder:
        _require_free_name(name, folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=temporary_prefix(name)) as own:
            made = Path(own) / name
            made.mkdir()
            copy = made / f"encoder{file.suffix.lower()}"
            shutil.copyfile(file, copy)
            values = {
                "title": title or file.name,
                "sample_rate": sample_rate,
                "window_s": window_s,
                "file_name": copy.name,
                "sha256": file_sha256(copy),
                "licence": licence,
                "layers": {LAYER: 1},
            }
            _record(values, name)
            values["layers"] = {LAYER: _measured(copy, file, sample_rate, window_s)}
            write_json(made / RECORD_NAME, to_plain_values(_record(values, name)))
            publish_folder(made, folder / name)
    return encoder_info(name)


def _require_free_name(name: str, folder: Path) -> None:
    if not NAME.fullmatch(name):
        raise UserError(
            f"an encoder cannot be called '{name}'; use up to 63 lower-case letters, digits and _, "
            f"the first one a letter"
        )
    if is_shipped_encoder(name):
        raise UserError(f"'{name}' is an encoder that Chorale ships; choose another name")
    if (folder / name).exists():
        raise UserError(
            f"there is an encoder '{name}' already; choose another name, or remove the folder "
            f"'{folder / name}'"
        )


def _record(values: Mapping[str, Any], name: str) -> AddedEncoder:
    try:
        return read_config(AddedEncoder, values, where=f"encoder '{name}'")
    except UserError as error:
        raise UserError(one_line(error)) from None


def _measured(copy: Path, file: Path, sample_rate: int, window_s: float | None) -> int:
    """The number of values in a frame."""
    try:
        encoder = load_added(copy, layer=LAYER, device="cpu")
        return run_on_noise(encoder, sample_rate=sample_rate, window_s=window_s).n_bins
    except (ProgramError, NoiseRunError) as error:
        raise UserError(
            f"'{file}' {error}; give another file, or check --sample-rate and --window-s"
        ) from error
