"""Frozen config dataclasses validated by pydantic, and how YAML values become them.

Every config (dataset, feature set, architecture, training, sweep) is a dataclass decorated with
`@config`: types and bounds are checked on construction, unknown fields raise.
"""

import dataclasses
import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, cast, dataclass_transform, get_args

import pydantic
import pydantic.dataclasses

from chorale.datasets.errors import UserError

T = TypeVar("T")

SECRET = "secret"
"""Error type for a validator of a secret: the error text then omits the value."""


def split_names(value: object) -> object:
    """The names in a text that separates them by commas; anything else is returned as it is."""
    if not isinstance(value, str):
        return value
    return [name.strip() for name in value.split(",") if name.strip()]


NameList = Annotated[tuple[str, ...], pydantic.BeforeValidator(split_names)]
"""Names that hold no comma: a list, or a text that separates them by commas."""

EXPECTED = {
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "int_from_float": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "string_type": "should be text",
    "dict_type": "should map keys to values",
    "dataclass_type": "should map keys to values",
}
"""Pydantic's type of an error -> what was expected."""

LISTS = ("list_type", "tuple_type")
MAPPINGS = ("dict_type", "dataclass_type")


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, pydantic.Field))
def config(cls: type[T]) -> type[T]:
    """Decorator: a frozen dataclass whose types and bounds are checked on construction.

    Bounds are written in the type: `n_mels: Annotated[int, Field(ge=8, le=256)] = 96`. A string
    literal under a field is its help text.
    """
    settings = pydantic.ConfigDict(extra="forbid", use_attribute_docstrings=True)
    return cast(type[T], pydantic.dataclasses.dataclass(frozen=True, config=settings)(cls))


def read_config(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """Makes a config of class `cls` from plain values, such as those of a YAML file.

    Args:
        cls: a class decorated with `@config`.
        values: field name -> value, nested for configs within configs.
        where: where the values come from, for errors: "sweep.yaml", "dataset 'folder'".

    Raises:
        UserError: lists every unknown field, missing field, wrong type and value out of bounds.
    """
    validated, problems = validate_config(cls, values)
    if validated is None:
        raise problems_error(problems, where=where)
    return validated


def validate_config(
    cls: type[T], values: Mapping[str, Any], *, prefix: str = ""
) -> tuple[T | None, list[str]]:
    """Like `read_config`, but returns the problems, so that those of several configs can be joined.

    `prefix` is put before each key: "dataset." for values under `dataset:` in a file.
    """
    try:
        return pydantic.TypeAdapter(cls).validate_python(dict(values)), []
    except pydantic.ValidationError as error:
        details = error.errors(include_url=False)
        return None, [_problem(cls, detail, prefix) for detail in details]


def problems_error(problems: list[str], *, where: str) -> UserError:
    """One error that lists all `problems` of `where`, one per line."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return UserError("\n  ".join([f"{where}: {count}", *problems]))


def to_plain_values(config: Any) -> dict[str, Any]:
    """A config as plain JSON and YAML values; `read_config` reads them back."""
    return dict(pydantic.TypeAdapter(type(config)).dump_python(config, mode="json"))


def _problem(cls: type[Any], detail: Any, prefix: str) -> str:
    path = [str(part) for part in detail["loc"]]
    name = (prefix + ".".join(path)).rstrip(".")
    if detail["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        allowed = _fields_at(cls, path[:-1])
        near = difflib.get_close_matches(path[-1], allowed, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return f"{name}: unknown key; {hint}allowed here: {', '.join(allowed)}"
    if detail["type"] in ("missing", "missing_argument"):
        return f"{name}: is missing; give it, or --{name} VALUE"
    if not name:
        return _expected(detail)
    hidden = isinstance(detail["input"], Mapping) or detail["type"] == SECRET
    got = "" if hidden else f", but got {detail['input']!r}"
    text = f"{name}: {_expected(detail)}{got}"
    if detail["type"] in MAPPINGS and (keys := _fields_at(cls, path)):
        text += f"; type --{name}.KEY VALUE; its keys: {', '.join(keys)}"
    if detail["type"] in LISTS and isinstance(detail["input"], str):
        text += f"; type --{name} '[{detail['input']}]'"
    return text


def _expected(detail: Any) -> str:
    """What a value should be."""
    if detail["type"] in LISTS:
        return "should be a list"
    if detail["type"] in EXPECTED:
        return EXPECTED[detail["type"]]
    message = re.sub("^Input should", "should", detail["msg"].removeprefix("Value error, "))
    return message[:1].lower() + message[1:]


def _fields_at(cls: type[Any], path: list[str]) -> list[str]:
    """The field names of the nested config at `path` below `cls`."""
    for part in path:
        found = _config_in({f.name: f.type for f in dataclasses.fields(cls)}.get(part))
        if found is None:
            return []
        cls = found
    return [f.name for f in dataclasses.fields(cls)]


def _config_in(annotation: Any) -> type[Any] | None:
    """The config class of a field's type, also of `Annotated[...]` and of `... | None`."""
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return annotation
    return next(filter(None, map(_config_in, get_args(annotation))), None)
