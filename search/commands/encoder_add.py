"""`chorale encoder add NAME --file FILE --sample-rate HZ`: adds a network of the user's own."""

from pathlib import Path

import click

from chorale.search.commands.command import command
from chorale.search.commands.parameters import FILE, POSITIVE, EncoderName, WholeNumber


@command(
    examples=[
        "chorale encoder add mine --file mine.onnx --sample-rate 16000",
        "chorale encoder add mine --file mine.pt2 --sample-rate 16000 --window-s 3 --licence MIT",
    ]
)
@click.argument("name", type=EncoderName())
@click.option(
    "--file",
    type=FILE,
    required=True,
    metavar="FILE",
    help=".pt2 (torch.export.save), .pt (torch.jit.save), .onnx or .tflite; it takes float32 "
    "(1, n_samples) and returns (1, n_frames, n_bins) or (1, n_bins).",
)
@click.option(
    "--sample-rate",
    type=WholeNumber(1),
    required=True,
    metavar="HZ",
    help="Of the audio that it takes.",
)
@click.option(
    "--window-s",
    type=POSITIVE,
    metavar="S",
    show_default="any length",
    help="Seconds of audio that it takes.",
)
@click.option("--licence", default="", metavar="TEXT", help="The licence of its weights.")
@click.option(
    "--title", default="", metavar="TEXT", show_default="the name of the file", help="What it is."
)
def run(
    name: str, file: Path, sample_rate: int, window_s: float | None, licence: str, title: str
) -> int:
    """Adds a network of your own as the pretrained encoder NAME.

    It copies FILE into the encoders' folder, after running it once on noise to measure the number
    of values that it returns.
    """
    from chorale.datasets.pretrained.adding import add_encoder

    info = add_encoder(
        name, file, sample_rate=sample_rate, window_s=window_s, licence=licence, title=title
    )
    outputs = ", ".join(f"{layer} of {n:,} values" for layer, n in info.layers.items())
    print(f"{info.name} is added: {outputs}, {info.sample_rate:,} Hz")
    return 0
