"""`chorale encoder check [NAME]`: verifies encoders, and runs them on noise."""

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.installed import encoder_info, encoder_names, is_fetched
from chorale.search.commands.command import command
from chorale.search.commands.parameters import EncoderName, json_option

if TYPE_CHECKING:
    from chorale.datasets.pretrained.checking import EncoderCheck


@command(examples=["chorale encoder check", "chorale encoder check musicnn --json"])
@click.argument("name", required=False, type=EncoderName())
@json_option
def run(name: str | None, as_json: bool) -> int:
    """Verifies the encoder NAME, by default all that have been fetched.

    It verifies the checksum, and that the packages that it needs are installed; then runs each of
    its outputs on noise and prints the shape, the seconds of computation per minute of audio on
    this machine's CPU, and the memory in use. Exits with 0 if there are no problems, else with 1.
    """
    chosen, damaged = list[str](), list[str]()
    if name is not None:
        chosen.append(encoder_info(name).name)
    for one in encoder_names() if name is None else ():
        try:
            chosen += [one] if is_fetched(one) else []
        except UserError as error:
            damaged.append(str(error))
    if not chosen and not damaged:
        raise UserError("no encoder has been fetched; choose one with: chorale encoder list")
    from chorale.datasets.pretrained.checking import check_encoder

    checks = [check_encoder(one) for one in chosen]
    if as_json:
        print(json.dumps([_plain(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        for line in (line for check in checks for line in _lines(check)):
            print(line)
    problems = [f"encoder '{c.name}': {c.problem}" for c in checks if c.problem]
    for problem in (*problems, *damaged):
        print(f"chorale encoder check: {problem}", file=sys.stderr)
    return 1 if problems or damaged else 0


def _lines(check: "EncoderCheck") -> list[str]:
    return [
        f"{check.name}  {layer}: {run.n_frames} frames of {run.n_bins} values for "
        f"{run.window_s:g} s of audio; {run.seconds_per_minute:.2f} s of computation per minute of "
        f"audio; {run.memory_mib:.0f} MiB of memory"
        for layer, run in check.runs.items()
    ]


def _plain(check: "EncoderCheck") -> dict[str, object]:
    runs = {layer: asdict(run) for layer, run in check.runs.items()}
    return {"name": check.name, "problem": check.problem, "layers": runs}
