"""Argument parsing of commands about one sweep's data: `NAME [--key value ...]`.

NAME is a sweep file, a shipped sweep, a dataset or a folder of recordings; the last two are read
with a sweep's defaults.
"""

import dataclasses
import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import TypeAdapter

from chorale.datasets import catalog, plugins
from chorale.datasets.config import read_config
from chorale.datasets.errors import UserError
from chorale.search.config import yaml_file
from chorale.search.config.schema import FOLDER, SweepConfig, load_sweep_config, read_sweep_values


@dataclass(frozen=True)
class SweepOptions:
    """The sweep, its name for error messages, and the values of the command's own keys."""

    sweep: SweepConfig
    where: str
    own: Mapping[str, Any]


def parse_sweep_options(
    args: Sequence[str], *, command: str, own: Collection[str] = (), feature: str | None = None
) -> SweepOptions:
    """Parses the arguments; a key of the dataset may be abbreviated: `--root X`.

    Args:
        args: the arguments after the command's name.
        command: that name, for errors: "data leak".
        own: keys that are the command's and not the sweep's.
        feature: the feature set for a dataset of audio; the sweep's default if None.

    Raises:
        UserError: nothing has the given name, the dataset lacks a key, or a value is wrong.
    """
    if not args or args[0].startswith("--"):
        got = f"got '{args[0]}'" if args else "got none"
        raise UserError(
            f"expected a sweep file, a folder, or the name of a sweep or dataset, but {got}; "
            f"type: chorale {command} NAME [--key value ...]"
        )
    name, dotted = args[0], yaml_file.parse_overrides(args[1:])
    taken = {key: dotted.pop(key) for key in own if key in dotted}
    file = _file(name)
    if file is not None:
        dataset = yaml_file.read_yaml(file).get("dataset")
        known = dataset.get("name") if isinstance(dataset, dict) else None
        return SweepOptions(
            load_sweep_config(name, _full_keys(dotted, _dataset(known))), name, taken
        )
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
    return SweepOptions(read_config(SweepConfig, values, where=where), where, taken)


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
    """The overrides, with the prefix `dataset.` for keys of the dataset."""
    of_sweep = {field.name for field in dataclasses.fields(SweepConfig)}
    of_dataset = {f.name for f in dataclasses.fields(dataset.Config)} if dataset else set()
    short = of_dataset - of_sweep
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
