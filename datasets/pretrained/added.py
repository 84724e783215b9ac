"""Encoders that a user added: how their `encoder.json` is read, and how each kind of file is run.

`datasets.pretrained.adding` writes them. A new kind of file is one entry in `LOADERS`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from chorale.datasets.base import EncoderInfo
from chorale.datasets.config import config, read_config
from chorale.datasets.errors import UserError
from chorale.datasets.programs import exported_program, guarded_program
from chorale.datasets.programs.windows import Windows, on_windows

RECORD_NAME = "encoder.json"
"""The file in the folder of an added encoder that describes it."""

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What an encoder may be called."""

LAYER = "output"
"""The name of the only layer of a file that has one output."""


@config
class AddedEncoder:
    """What `encoder.json` holds, beside the name, which is that of the folder."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    sample_rate: Annotated[int, Field(ge=1_000, le=384_000)]
    file_name: Annotated[str, Field(pattern=r"^encoder\.[a-z0-9]+$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    window_s: Annotated[float, Field(gt=0, le=600)] | None = None
    layers: dict[str, Annotated[int, Field(ge=1)]] = field(default_factory=dict)
    licence: str = ""

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers is empty, but an encoder has at least one output")


def added_names(folder: Path) -> tuple[str, ...]:
    """The names of the encoders that a user added to the encoders' folder, sorted."""
    found = folder.glob(f"*/{RECORD_NAME}")
    return tuple(sorted(at.parent.name for at in found if NAME.fullmatch(at.parent.name)))


def read_added(folder: Path) -> EncoderInfo:
    """Metadata of the encoder that a user added, from its folder.

    Raises:
        UserError: its `encoder.json` is damaged.
    """
    added = read_record(folder)
    licence = added.licence or "not given"
    return EncoderInfo(
        name=folder.name,
        title=added.title,
        trained_on="not given",
        code_licence=licence,
        weights_licence=licence,
        citation="not given",
        homepage="",
        sample_rate=added.sample_rate,
        window_s=added.window_s,
        layers=added.layers,
        file_name=added.file_name,
        how_to_get=f"type: {add_command(folder.name)}",
    )


def read_record(folder: Path) -> AddedEncoder:
    """The `encoder.json` of an added encoder.

    Raises:
        UserError: it is damaged.
    """
    record = folder / RECORD_NAME
    try:
        values = json.loads(record.read_bytes())
        if not isinstance(values, dict):
            raise ValueError("it is no JSON object")
        return read_config(AddedEncoder, values, where=str(record))
    except (OSError, ValueError, RecursionError, UserError) as error:
        raise UserError(
            f"encoder '{folder.name}': '{record}' cannot be read ({one_line(error)}); "
            f"type: {add_command(folder.name)}"
        ) from None


def one_line(error: Exception) -> str:
    """The text of an error as one line."""
    return "; ".join(line.strip() for line in str(error).splitlines())


def add_command(name: str) -> str:
    """The command that adds an encoder of that name, with placeholders."""
    return f"chorale encoder add {name} --file FILE --sample-rate HZ"


def load_added(file: Path, *, layer: str, device: str) -> Windows:
    """A user's file as a function on windows, by its ending.

    Args:
        file: one with an ending of `LOADERS`.
        layer: the name of one of its outputs.
        device: "cpu" or "cuda".

    Raises:
        UserError: the ending is none of `LOADERS`.
        ProgramError: the file is damaged, or is no such network.
    """
    require_loader(file)
    return LOADERS[file.suffix.lower()](file, layer, device)


def require_loader(file: Path) -> None:
    """Checks that files with this ending can be run.

    Raises:
        UserError: they cannot.
    """
    if file.suffix.lower() not in LOADERS:
        raise UserError(
            f"'{file}' ends with '{file.suffix}', and encoders end with one of "
            f"{', '.join(LOADERS)}; export it to one of these (PyTorch: torch.export.save)"
        )


def check_added(file: Path, *, layer: str | None) -> None:
    """Checks a user's file without running it.

    Args:
        file: the file.
        layer: the inner tensor that is wanted instead of the first output.

    Raises:
        UserError: the ending is none of `LOADERS`, or its programs have one output.
        ProgramError: the file is damaged, or is no such network.
    """
    require_loader(file)
    if file.suffix.lower() in guarded_program.KINDS:
        guarded_program.check_model_file(file)
        return
    if layer is not None:
        raise UserError(f"layer={layer} needs a `bundle`; a program has one output")
    exported_program.check_program(file)


def _load_program(file: Path, layer: str, device: str) -> Windows:
    """A `.pt2` or `.pt`, which has one output."""
    del layer
    return on_windows(exported_program.load_program(file, device), device)


def _load_model_file(file: Path, layer: str, device: str) -> Windows:
    """A tflite or ONNX file, which runs on the CPU whatever the device."""
    del device
    return guarded_program.load_model_file(file, output=None if layer in ("", LAYER) else layer)


LOADERS: Mapping[str, Callable[[Path, str, str], Windows]] = {
    exported_program.EXPORTED_SUFFIX: _load_program,
    exported_program.SCRIPTED_SUFFIX: _load_program,
    **dict.fromkeys(guarded_program.KINDS, _load_model_file),
}
"""The ending of a file -> the function `(file, layer, device)` that loads it."""
