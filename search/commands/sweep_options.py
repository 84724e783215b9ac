"""Argument parsing of commands about one sweep's data: `NAME [--key value ...]`.

NAME is a sweep file, a shipped sweep, a dataset or a folder of recordings; the last two are read
with a sweep's defaults.
"""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter

from chorale.datasets import catalog, plugins
from chorale.datasets.config import read_config
from chorale.datasets.errors import UserError
from chorale.search.commands.key_words import one_name, split_key_words, sweep_keys
from chorale.search.config import yaml_file
from chorale.search.config.schema import FOLDER, SweepConfig, load_sweep_config, read_sweep_values


@dataclass(frozen=True)
class SweepOptions:
    """The sweep, and its name for error messages."""

    sweep: SweepConfig
    where: str


def parse_sweep_options(
    words: Sequence[str], *, command: str, feature: str | None = None
) -> SweepOptions:
    """Parses the words of a command; a key of the dataset may be abbreviated: `--root X`.

    Args:
        words: the words after the command's name, without the command's own options.
        command: that name, for errors: "data leak".
        feature: the feature set for a dataset of audio; the sweep's default if None.

    Raises:
        click.UsageError: there is no name, or an option without a value.
        UserError: nothing has the given name, the dataset lacks a key, or a value is wrong.
    """
    names, keys = split_key_words(words, sweep_keys())
    name = one_name(
        names,
        f"a sweep file, a folder, or the name of a sweep or dataset (chorale {command} NAME)",
    )
    dotted = yaml_file.parse_overrides(keys)
    file = _file(name)
    if file is not None:
        dataset = yaml_file.read_yaml(file).get("dataset")
        known = dataset.get("name") if isinstance(dataset, dict) else None
        return SweepOptions(load_sweep_config(name, _full_keys(dotted, _dataset(known))), name)
    module, where = _dataset(name), f"dataset '{name}'"
    values: dict[str, Any]
    if module is not None:
        values = yaml_file.merge_overrides(
            {"dataset": {"name": name}, "name": name}, _full_keys(dotted, module)
        )
    elif Path(name).expanduser().is_dir():
        module, where = plugins.load_plugin(catalog, FOLDER, kind="dataset"), f"folder '{name}'"
        values = read_sweep_values(name, _full_keys(dotted, module))
    else:
        raise _unknown(name)
    if feature and not module.INFO.features:
        values.setdefault("features", {feature: None})
    _refuse_lacking(module, values["dataset"], where=where, command=f"chorale {command} {name}")
    return SweepOptions(read_config(SweepConfig, values, where=where), where)


def _file(name: str) -> Path | None:
    """The sweep file of that name; a dataset goes before a shipped sweep of another dataset."""
    try:
        found = yaml_file.find_sweep_file(name)
    except UserError:
        return None
    if found.parent == yaml_file.SHIPPED_SWEEPS and name in plugins.plugin_names(catalog):
        dataset = yaml_file.read_yaml(found).get("dataset")
        return found if isinstance(dataset, dict) and dataset.get("name") == name else None
    return found


def _dataset(name: object) -> ModuleType | None:
    if name not in plugins.plugin_names(catalog):
        return None
    return plugins.load_plugin(catalog, str(name), kind="dataset")


def _full_keys(dotted: Mapping[str, Any], dataset: ModuleType | None) -> dict[str, Any]:
    """The overrides, with the prefix `dataset.` for keys of the dataset.

    Raises:
        UserError: a key is neither the sweep's nor the dataset's.
    """
    of_sweep = {field.name for field in dataclasses.fields(SweepConfig)}
    of_dataset = [f.name for f in dataclasses.fields(dataset.Config)] if dataset else []
    for key in (key for key in dotted if key.split(".")[0] not in {*of_sweep, *of_dataset}):
        near = difflib.get_close_matches(key, [*of_dataset, *of_sweep], n=1, cutoff=0.5)
        hint = f"did you mean --{near[0]}? " if near else ""
        raise UserError(
            f"unknown key --{key}; {hint}keys of the dataset: "
            f"{', '.join(of_dataset) or 'none, as it is unknown'}; of the sweep: chorale keys"
        )
    short = {*of_dataset} - of_sweep
    return {f"dataset.{key}" if key in short else key: dotted[key] for key in dotted}


def _refuse_lacking(
    dataset: ModuleType, given: Mapping[str, Any], *, where: str, command: str
) -> None:
    needed = [
        field.name
        for field in dataclasses.fields(dataset.Config)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if lacking := [name for name in needed if name not in given]:
        texts = TypeAdapter(dataset.Config).json_schema()["properties"]
        what = ", ".join(f"{n} ({_one_line(texts[n].get('description', ''))})" for n in lacking)
        typed = " ".join(f"--{name} {name.upper()}" for name in lacking)
        raise UserError(f"{where} needs {what}; type: {command} {typed}")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _unknown(name: str) -> UserError:
    sweeps = sorted(path.stem for path in yaml_file.SHIPPED_SWEEPS.glob("*.yaml"))
    datasets = plugins.plugin_names(catalog)
    near = difflib.get_close_matches(Path(name).stem, [*sweeps, *datasets], n=3, cutoff=0.5)
    offered = " or ".join(f"'{found}'" for found in dict.fromkeys(near))
    hint = f"did you mean {offered}? " if near else ""
    return UserError(
        f"there is no sweep file '{name}', and no sweep or dataset of that name; {hint}"
        f"shipped sweeps: {', '.join(sweeps)}; datasets: {', '.join(datasets)}"
    )
