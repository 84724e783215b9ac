"""The keys of a config with their defaults and texts, read from its class, so always current."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter


@dataclass(frozen=True)
class Key:
    """A key of a config: its dotted name, its default as YAML ("" if it has none), its help."""

    name: str
    default: str
    text: str


def config_keys(cls: type[Any], prefix: str = "") -> list[Key]:
    """The keys of a config class decorated with `@config`, and of the configs within it."""
    texts = _texts(cls)
    found: list[Key] = []
    for field in dataclasses.fields(cls):
        name = prefix + field.name
        if dataclasses.is_dataclass(field.default):
            found += config_keys(type(field.default), f"{name}.")
        else:
            text = " ".join(texts.get(field.name, "").split())
            found.append(Key(name, _default(field), text))
    return found


def _texts(cls: type[Any]) -> dict[str, str]:
    schema = TypeAdapter(cls).json_schema()
    return {
        name: entry.get("description", "") for name, entry in schema.get("properties", {}).items()
    }


def _default(field: Any) -> str:
    default = getattr(field.default, "default", field.default)
    if default is dataclasses.MISSING or type(default).__name__ == "PydanticUndefinedType":
        return ""
    if isinstance(default, tuple):
        return f"[{', '.join(map(str, default))}]" if default else ""
    is_yaml_word = default is None or isinstance(default, bool)
    return json.dumps(default) if is_yaml_word else str(default)
