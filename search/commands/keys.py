"""`chorale keys [PATH]`: the keys of a sweep file, with their defaults."""

from collections.abc import Sequence
from typing import Any

import click

from chorale.datasets import catalog, plugins
from chorale.datasets import features as feature_files
from chorale.lightning_models import architectures as architecture_files
from chorale.search.commands.command import command
from chorale.search.config import yaml_file
from chorale.search.config.key_reference import Key, config_keys


@command(
    examples=[
        "chorale keys",
        "chorale keys budget",
        "chorale keys budget.minutes",
        "chorale keys dataset.fsdd",
        "chorale keys train",
    ]
)
@click.argument("path", required=False)
def run(path: str | None) -> int:
    """Shows the keys of a sweep file, each with its default in brackets.

    PATH narrows it to a section (budget), a key (budget.minutes), the keys of a dataset
    (dataset.NAME), or those of the training (train). Each can be written in a sweep file, or on the
    command line of chorale sweep, and of other commands that take keys. Without PATH it also lists
    the shipped sweeps, datasets, feature sets and architectures (chorale space ARCHITECTURE).
    """
    if path is None:
        for name, known in _choices().items():
            click.echo(f"{name + ':':<16} {', '.join(known)}")
        click.echo("\nkeys:")
    for key in _keys(path):
        click.echo(f"  --{key.name} ({key.default})" if key.default else f"  --{key.name}")
        click.echo(f"      {key.text}")
    return 0


def _choices() -> dict[str, Sequence[str]]:
    return {
        "shipped sweeps": sorted(p.stem for p in yaml_file.SHIPPED_SWEEPS.glob("*.yaml")),
        "datasets": plugins.plugin_names(catalog),
        "feature sets": plugins.plugin_names(feature_files),
        "architectures": plugins.plugin_names(architecture_files),
    }


def _keys(path: str | None) -> list[Key]:
    """The keys at or below `path`.

    Raises:
        UserError: there is none.
    """
    from chorale.datasets.errors import unknown_name_error
    from chorale.search.config.schema import SweepConfig

    every = config_keys(SweepConfig)
    if path is None:
        return every
    first, _, second = path.partition(".")
    if first == "dataset" and second in plugins.plugin_names(catalog):
        dataset: Any = plugins.load_plugin(catalog, second, kind="dataset")
        return config_keys(dataset.Config, "dataset.")
    if first == "train":
        from chorale.lightning_models.train_config import TrainConfig

        every += config_keys(TrainConfig, "train.")
    found = [key for key in every if key.name == path or key.name.startswith(f"{path}.")]
    if not found:
        sections = {key.name.partition(".")[0] for key in every}
        raise unknown_name_error("key", path, {*sections, *(key.name for key in every)})
    return found
