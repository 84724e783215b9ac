"""`chorale encoder list`: all pretrained encoders, and which of them have been fetched."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from chorale.datasets.base import EncoderInfo
from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.installed import (
    encoder_info,
    encoder_names,
    fetch_advice,
    is_fetched,
    weights_path,
)
from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.parameters import flag


@command(examples=["chorale encoder list", "chorale encoder list --json"])
@flag(
    "--json",
    "Print JSON, also with citations, the licence of the code, checksums and files.",
    name="as_json",
)
def run(as_json: bool) -> int:
    """Lists every pretrained encoder, and whether it has been fetched or what to type.

    Shown are its outputs with their number of values, the sample rate and the window of its input,
    and the licence of its weights. Add a network of your own: chorale encoder add.
    """
    infos, damaged = [], []
    for name in encoder_names():
        try:
            infos.append(encoder_info(name))
        except UserError as error:
            damaged.append(str(error))
    if as_json:
        print(json.dumps([_plain(info) for info in infos], indent=2, ensure_ascii=False))
    else:
        _print_table(infos)
    for line in damaged:
        print(f"chorale encoder list: {line}", file=sys.stderr)
    return 1 if damaged else 0


def _print_table(infos: Sequence[EncoderInfo]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_lines=True)
    table.add_column("name", no_wrap=True, style="bold")
    table.add_column("title")
    table.add_column("values", no_wrap=True)
    table.add_column("Hz", justify="right", no_wrap=True)
    table.add_column("window", justify="right", no_wrap=True)
    for column in ("licence of the weights", "fetched"):
        table.add_column(column, overflow="fold")
    for info in infos:
        values = "\n".join(f"{layer} {n:,}" for layer, n in info.layers.items())
        window = "any" if info.window_s is None else f"{info.window_s:g} s"
        fetched = "yes" if is_fetched(info.name) else _how_to_fetch(info)
        cells = (info.name, _title(info), values, f"{info.sample_rate:,}", window)
        table.add_row(*map(escape, (*cells, info.weights_licence, fetched)))
    console().print(table)


def _title(info: EncoderInfo) -> str:
    """The title, and how many blocks can be fine-tuned, at the most, before one of its layers."""
    most = max(info.blocks.values(), default=0)
    return f"{info.title}; fine_tune up to {most}" if most else info.title


def _how_to_fetch(info: EncoderInfo) -> str:
    by_hand = not info.weights and info.web_file is None
    return f"by hand: {fetch_advice(info.name)}" if by_hand else fetch_advice(info.name)


def _plain(info: EncoderInfo) -> dict[str, Any]:
    values = {one.name: getattr(info, one.name) for one in dataclasses.fields(info)}
    own: dict[str, Any] = {
        "layers": dict(info.layers),
        "blocks": dict(info.blocks),
        "weights": [dataclasses.asdict(one) for one in info.weights],
        "web_file": dataclasses.asdict(info.web_file) if info.web_file else None,
        "fetched": is_fetched(info.name),
        "file": str(weights_path(info.name)),
        "advice": "" if is_fetched(info.name) else fetch_advice(info.name),
    }
    return values | own
