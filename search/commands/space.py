"""`chorale space ARCHITECTURE`: the parameters of an architecture that a sweep searches."""

import click

from chorale.search.commands.command import command
from chorale.search.commands.parameters import ArchitectureName

TRAIN = "train"


@command(examples=["chorale space cnn", "chorale space train"])
@click.argument("architecture", type=ArchitectureName())
def run(architecture: str) -> int:
    """Shows the parameters of ARCHITECTURE that a sweep searches, with their ranges and defaults.

    ARCHITECTURE is also train, for the parameters of the training, which all architectures share. A
    range is written as in a sweep file, where it may be narrowed (space), as on the command line:
    chorale sweep --space.cnn.width '{choice: [16, 32]}'.
    """
    from chorale.lightning_models.train_config import TRAIN_SPACE, TrainConfig
    from chorale.search.config.key_reference import config_keys
    from chorale.search.config.narrowing import describe
    from chorale.search.config.space import architecture_declarations

    if architecture == TRAIN:
        space, config = TRAIN_SPACE, TrainConfig
    else:
        declared = architecture_declarations(architecture)
        space, config = declared.SPACE, declared.Config
    known = {key.name: key for key in config_keys(config)}
    click.echo(f"{architecture}: {len(space)} searched parameters")
    for name, distribution in space.items():
        key = known[name]
        click.echo(
            f"  --space.{architecture}.{name} {_range(describe(distribution))} ({key.default})"
        )
        click.echo(f"      {key.text}")
    return 0


def _range(described: str) -> str:
    """`int: [2, 8] in steps of 2` with braces around what a sweep file takes."""
    taken, separator, steps = described.partition(" in steps of ")
    return f"{{{taken}}}{separator}{steps}"
