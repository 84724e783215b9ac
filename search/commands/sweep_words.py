"""The words of a command that is about one sweep's data: `NAME [--key value ...]`.

NAME is a sweep file, a shipped sweep, or a dataset, which is read with a sweep's defaults.
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
from chorale.datasets.config import read
from chorale.datasets.errors import UserError
from chorale.search.config import yaml_file
from chorale.search.config.schema import SweepConfig, load


@dataclass(frozen=True)
class Named:
    """The sweep that was named; what errors call it; and the values of the command's own keys."""

    sweep: SweepConfig
    where: str
    own: Mapping[str, Any]


def named_sweep(
    words: Sequence[str], *, command: str, own: Collection[str] = (), feature: str | None = None
) -> Named:
    """Reads what the words say; a key of the dataset may be short: `--root X`.

    Args:
        words: what follows the command's name.
        command: that name, for errors: "data leak".
        own: keys that are the command's and not the sweep's.
        feature: what is extracted of a dataset that brings audio; the sweep's default if None.

    Raises:
        UserError: the first word names nothing, the dataset lacks a key, or a value is wrong.
    """
    if not words or words[0].startswith("--"):
        got = f"got '{words[0]}'" if words else "got none"
        raise UserError(
            f"expected a sweep file, or the name of a shipped sweep or dataset, but {got}; "
            f"type: chorale {command} NAME [--key value ...]"
        )
    name, dotted = words[0], yaml_file.overrides(words[1:])
    taken = {key: dotted.pop(key) for key in own if key in dotted}
    file = _file(name)
    if file is not None:
        dataset = yaml_file.read_yaml(file).get("dataset")
        known = dataset.get("name") if isinstance(dataset, dict) else None
        return Named(load(name, _whole(dotted, _dataset(known))), name, taken)
    module = _dataset(name)
    if module is None:
        raise _unknown(name)
    where = f"dataset '{name}'"
    values = yaml_file.merge({"dataset": {"name": name}, "name": name}, _whole(dotted, module))
    if feature and not module.INFO.features:
        values.setdefault("features", {feature: None})
    _refuse_lacking(module, values["dataset"], where=where, command=f"chorale {command} {name}")
    return Named(read(SweepConfig, values, where=where), where, taken)


def _file(name: str) -> Path | None:
    """The sweep file of that name; a shipped one gives way to another dataset of the same name."""
    try:
        found = yaml_file.find(name)
    except UserError:
        return None
    if found.parent == yaml_file.SHIPPED and name in plugins.names(catalog):
        dataset = yaml_file.read_yaml(found).get("dataset")
        return found if isinstance(dataset, dict) and dataset.get("name") == name else None
    return found


def _dataset(name: object) -> ModuleType | None:
    if name not in plugins.names(catalog):
        return None
    return plugins.load(catalog, str(name), kind="dataset")


def _whole(dotted: Mapping[str, Any], dataset: ModuleType | None) -> dict[str, Any]:
    """The keys with `dataset.` put before those that are the dataset's and not the sweep's."""
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
    sweeps = sorted(path.stem for path in yaml_file.SHIPPED.glob("*.yaml"))
    datasets = plugins.names(catalog)
    near = difflib.get_close_matches(Path(name).stem, [*sweeps, *datasets], n=3, cutoff=0.5)
    offered = " or ".join(f"'{found}'" for found in dict.fromkeys(near))
    hint = f"did you mean {offered}? " if near else ""
    return UserError(
        f"there is no sweep file '{name}', and no sweep or dataset of that name; {hint}"
        f"shipped sweeps: {', '.join(sweeps)}; datasets: {', '.join(datasets)}"
    )
