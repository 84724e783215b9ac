"""Parameters that several commands have in common, and types whose errors are one clear line."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chorale.datasets.errors import unknown_name_error

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])

LAST_PORT = 65535


class WholeNumber(click.IntRange):
    """A whole number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number.

        Raises:
            click.BadParameter: it is none, or out of bounds.
        """
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            text = f"should be a whole number {_bounds(self)}, but got '{value}'"
            raise click.BadParameter(text, ctx, param) from None


class Number(click.FloatRange):
    """A finite number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number.

        Raises:
            click.BadParameter: it is none, or out of bounds.
        """
        text = f"should be a number {_bounds(self)}, but got '{value}'"
        try:
            number = super().convert(value, param, ctx)
        except click.BadParameter:
            raise click.BadParameter(text, ctx, param) from None
        if not math.isfinite(number):
            raise click.BadParameter(text, ctx, param)
        return number


class Choice(click.Choice[str]):
    """One of several words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word.

        Raises:
            click.BadParameter: it is none of them; the nearest one is suggested.
        """
        if value not in self.choices:
            text = f": {unknown_name_error('choice', str(value), self.choices)}"
            raise click.BadParameter(text, ctx, param)
        return value


class UserPath(click.Path):
    """A path in which `~` is the home folder."""

    def __init__(self, *, is_folder: bool = False) -> None:
        super().__init__(path_type=Path, file_okay=not is_folder)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path, which need not exist."""
        del param, ctx
        return Path(value).expanduser()


class _Name(click.ParamType[str, Any]):
    """A name of which the shell completes known ones."""

    listing = ""
    """the command that lists them"""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it was typed."""
        del param, ctx
        return str(value)

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """What is expected."""
        del param, ctx
        return f"expected the name of {'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"

    def known(self, ctx: click.Context) -> Iterable[str]:
        """The names that the shell completes."""
        del ctx
        return ()

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """Those of `known` that begin with what was typed."""
        del param
        return _completed(self.known(ctx), incomplete)


def _completed(names: Iterable[str], incomplete: str) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class StudyName(_Name):
    """The name of a study."""

    name = "study"
    listing = "chorale list"

    def known(self, ctx: click.Context) -> Iterable[str]:
        """The studies in the folder of `--runs`."""
        root = Path(str(ctx.params.get("runs") or "runs")).expanduser()
        return sorted(path.parent.name for path in root.glob("*/sweep.yaml"))


class DatasetName(_Name):
    """The name of a dataset."""

    name = "dataset"
    listing = "chorale data list"

    def known(self, ctx: click.Context) -> Iterable[str]:
        """All datasets."""
        del ctx
        from chorale.datasets import catalog, plugins

        return plugins.plugin_names(catalog)


class EncoderName(_Name):
    """The name of a pretrained encoder."""

    name = "encoder"
    listing = "chorale encoder list"

    def known(self, ctx: click.Context) -> Iterable[str]:
        """All encoders."""
        del ctx
        from chorale.datasets import encoders, plugins

        return plugins.plugin_names(encoders)


class ArchitectureName(_Name):
    """The name of an architecture."""

    name = "architecture"
    listing = "chorale keys architectures"

    def known(self, ctx: click.Context) -> Iterable[str]:
        """All architectures."""
        del ctx
        from chorale.datasets import plugins
        from chorale.lightning_models import architectures

        return plugins.plugin_names(architectures)


class SweepWords(click.ParamType[str, Any]):
    """The name of a sweep, and then its keys with their values."""

    name = "sweep"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word as it was typed."""
        del param, ctx
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """The shipped sweeps, the datasets, and files."""
        from click.shell_completion import CompletionItem

        if ctx.params.get(param.name or ""):
            return []
        from chorale.datasets import catalog, plugins
        from chorale.search.config.yaml_file import SHIPPED_SWEEPS

        sweeps = {path.stem for path in SHIPPED_SWEEPS.glob("*.yaml")}
        found = _completed(sorted(sweeps | {*plugins.plugin_names(catalog)}), incomplete)
        return found or [CompletionItem(incomplete, type="file")]


FILE, FOLDER = UserPath(), UserPath(is_folder=True)
PORT = WholeNumber(0, LAST_PORT)
POSITIVE = Number(min=0, min_open=True)

runs_option = click.option(
    "--runs", default="runs", metavar="FOLDER", help="The folder of all studies."
)
store_option = click.option(
    "--store", metavar="URL", help="The ledger, where it is not in that folder."
)
json_option = click.option(
    "--json", "as_json", is_flag=True, show_default=False, help="Print JSON."
)


def flag(option: str, help: str, *, name: str | None = None) -> Callable[[F], F]:
    """An option without a value; `name` is that of the function's argument, if it is another."""
    names = [option] if name is None else [option, name]
    return click.option(*names, is_flag=True, show_default=False, help=help)


def _bounds(number: click.IntRange | click.FloatRange) -> str:
    low, high = number.min, number.max
    if high is None:
        return f"above {low:g}" if number.min_open else f"of {low:g} or more"
    if number.min_open or number.max_open:
        return f"above {low:g} and below {high:g}"
    return f"from {low:g} to {high:g}"
