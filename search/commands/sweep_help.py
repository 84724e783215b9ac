"""The help text of `chorale sweep`, generated from the config classes, so it is always current."""

import dataclasses
import json
from typing import Any

from pydantic import TypeAdapter

from chorale.datasets import catalog, plugins
from chorale.datasets import features as feature_files
from chorale.lightning_models import architectures as architecture_files
from chorale.search.commands.metrics_options import METRICS_HELP
from chorale.search.config import yaml_file
from chorale.search.config.schema import SweepConfig

HEAD = f"""\
usage: chorale sweep [SWEEP.yaml | FOLDER | DATASET] [--key.sub value ...]
                     [--plan | --resume | --continue] [--take-over] [--metrics-port PORT]

Runs a sweep on a dataset. SWEEP.yaml is a file, or the name of a shipped sweep. A FOLDER with a
folder of recordings for each label, or a DATASET, is read with the defaults of all keys. Without
any of them the demo on the built-in synthetic corpus runs. Each key of the file can be given on the
command line.
--plan prepares the data, measures the speed of each architecture, and says what the sweep would do
and how long it would take, without starting it.
--resume resumes an interrupted sweep; with --take-over even if another process seems to run it.
`chorale resume STUDY` does so without the file. --continue resumes the sweep if it exists, and else
starts it: for jobs that are restarted automatically.

{METRICS_HELP}"""


def sweep_help() -> str:
    """Usage, the available sweeps and plug-ins, and every key with its default."""
    choices = {
        "shipped sweeps": sorted(p.stem for p in yaml_file.SHIPPED_SWEEPS.glob("*.yaml")),
        "datasets": plugins.plugin_names(catalog),
        "feature sets": plugins.plugin_names(feature_files),
        "architectures": plugins.plugin_names(architecture_files),
    }
    lines = [HEAD]
    lines += [f"{name + ':':<16} {', '.join(known)}" for name, known in choices.items()]
    lines += ["", "keys:"]
    for key, default, text in _keys(SweepConfig, ""):
        lines.append(f"  --{key} ({default})" if default else f"  --{key}")
        lines.append(f"      {' '.join(text.split())}")
    return "\n".join(lines)


def _keys(cls: type[Any], prefix: str) -> list[tuple[str, str, str]]:
    """(key, default, help) of each field of a config and of its nested configs."""
    texts = _texts(cls)
    found = []
    for field in dataclasses.fields(cls):
        name = prefix + field.name
        if dataclasses.is_dataclass(field.default):
            found += _keys(type(field.default), name + ".")
            continue
        found.append((name, _shown(field), texts.get(field.name, "")))
    return found


def _texts(cls: type[Any]) -> dict[str, str]:
    schema = TypeAdapter(cls).json_schema()
    return {
        name: entry.get("description", "") for name, entry in schema.get("properties", {}).items()
    }


def _shown(field: Any) -> str:
    default = getattr(field.default, "default", field.default)
    if default is dataclasses.MISSING or type(default).__name__ == "PydanticUndefinedType":
        return ""
    if isinstance(default, tuple):
        return f"[{', '.join(map(str, default))}]" if default else ""
    is_yaml_word = default is None or isinstance(default, bool)
    return json.dumps(default) if is_yaml_word else str(default)
