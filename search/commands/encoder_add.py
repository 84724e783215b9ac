"""`chorale encoder add NAME --file FILE --sample-rate HZ`: adds a network of the user's own."""

import math
from collections.abc import Sequence
from pathlib import Path

from chorale.datasets.errors import UserError
from chorale.search.commands.study_options import split_arguments

HELP = """\
usage: chorale encoder add NAME --file FILE --sample-rate HZ [--window-s S] [--licence TEXT]
                           [--title TEXT]

Adds a network of your own as the pretrained encoder NAME: copies FILE into the encoders' folder,
after running it once on noise to measure the number of values that it returns.

  --file FILE       .pt2 (torch.export.save), .pt (torch.jit.save), .onnx or .tflite; it takes
                    float32 (1, n_samples) and returns (1, n_frames, n_bins) or (1, n_bins)
  --sample-rate HZ  of the audio that it takes
  --window-s S      seconds of audio that it takes; default: any length
  --licence TEXT    the licence of its weights; default: not given
  --title TEXT      what it is; default: the name of the file
"""

REQUIRED = ("file", "sample-rate")


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    options = (*REQUIRED, "window-s", "licence", "title")
    names, given, _ = split_arguments(args, options=options)
    if len(names) != 1:
        raise UserError(
            f"expected one name for the encoder, but got {' '.join(names) or 'none'}; "
            f"type: chorale encoder add NAME --file FILE --sample-rate HZ"
        )
    if missing := [option for option in REQUIRED if option not in given]:
        raise UserError(
            f"--{missing[0]} is missing; "
            f"type: chorale encoder add {names[0]} --file FILE --sample-rate HZ"
        )
    rate = _number(given, "sample-rate")
    if rate != int(rate):
        raise UserError(f"--sample-rate must be a whole number, but got '{given['sample-rate']}'")
    window_s = _number(given, "window-s") if "window-s" in given else None
    from chorale.datasets.pretrained.adding import add_encoder

    info = add_encoder(
        names[0],
        Path(given["file"]).expanduser(),
        sample_rate=int(rate),
        window_s=window_s,
        licence=given.get("licence", ""),
        title=given.get("title", ""),
    )
    outputs = ", ".join(f"{layer} of {n:,} values" for layer, n in info.layers.items())
    print(f"{info.name} is added: {outputs}, {info.sample_rate:,} Hz")
    return 0


def _number(given: dict[str, str], option: str) -> float:
    try:
        value = float(given[option])
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf):
        raise UserError(f"--{option} must be a number above 0, but got '{given[option]}'")
    return value
