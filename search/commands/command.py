"""The class of all commands: its help has examples, and every command has the common options.

`search/cli.py` runs commands, and prints what `usage_error_text` returns for a wrong command line.
"""

import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from chorale.datasets.errors import unknown_name_error

COMPLETE_VARIABLE = "_CHORALE_COMPLETE"
"""The environment variable by which a shell asks for completions (chorale completion)."""
COMMON_OPTIONS = ("plugins", "quiet", "verbose", "log_file", "version", "help")
"""The parameters of every command, in the order of its help."""


@dataclass
class CommandLine:
    """The command line of this process, as `search.cli` keeps it for the commands."""

    args: Sequence[str]
    """all words after `chorale`"""
    path: str = "chorale"
    """the command's name, as far as it is known: "chorale data check" """
    quiet: bool = False
    verbose: bool = False


def command_line() -> CommandLine:
    """The command line that is being run; an empty one outside of a command."""
    context = click.get_current_context(silent=True)
    kept = None if context is None else context.find_root().obj
    return kept if isinstance(kept, CommandLine) else CommandLine(())


def typed_command(*, without: Collection[str] = (), more: Sequence[str] = ()) -> str:
    """The command line as it was typed, to be typed again, without some words and with others."""
    kept = [word for word in command_line().args if word not in without]
    return shlex.join(["chorale", *kept, *more])


class Command(click.Command):
    """A command with examples in its help."""

    allow_extra_args = True  # refused by parse_args, with what is expected

    def __init__(self, name: str | None, *, examples: Sequence[str], **settings: Any) -> None:
        """As `click.Command`, with lines to type as `examples`."""
        super().__init__(name, **settings)
        self.examples = tuple(examples)
        self.params += common_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses the words after the command's name.

        Raises:
            click.UsageError: an option lacks its value, or there are too many names.
        """
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        self._refuse_lacking_values(ctx, args)
        if rest := super().parse_args(ctx, list(args)):
            names = [p for p in self.get_params(ctx) if isinstance(p, click.Argument)]
            taken = [str(ctx.params[p.name]) for p in names if p.nargs == 1]
            raise click.UsageError(
                f"expected {_expected(names)}, but got {' '.join([*taken, *rest])}; type: "
                f"{usage_of(ctx)}",
                ctx,
            )
        return []

    def _refuse_lacking_values(self, ctx: click.Context, args: Sequence[str]) -> None:
        """Refuses `--port --json`, which click would read as the port "--json"."""
        takes_value = {
            name: option
            for option in self.get_params(ctx)
            if isinstance(option, click.Option) and not (option.is_flag or option.count)
            for name in option.opts
        }
        for word, following in pairwise([*args, "--"]):
            if word == "--":
                return
            if word in takes_value and following.startswith("--"):
                value = takes_value[word].make_metavar(ctx)
                raise click.UsageError(f"{word} needs a value: {word} {value}", ctx)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the usage line."""
        pieces = " ".join(self.collect_usage_pieces(ctx))
        formatter.write_usage(ctx.command_path, pieces, prefix="usage: ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the command's own options, and names the common ones."""
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        own = [p.get_help_record(ctx) for p in options if p.name not in COMMON_OPTIONS]
        if records := [record for record in own if record is not None]:
            with formatter.section("Options"):
                formatter.write_dl(records)
        common = ", ".join(p.opts[-1] for p in options if p.name in COMMON_OPTIONS)
        with formatter.section("Options of every command (see chorale --help)"):
            formatter.write_text(common)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the examples."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Examples"):
            for line in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class KeysCommand(Command):
    """A command that also takes the keys of a sweep, `--budget.trials 8`, as unknown options."""

    ignore_unknown_options = True


def command(
    *, examples: Sequence[str], keys: bool = False, help: str | None = None
) -> Callable[[Callable[..., int]], Command]:
    """Decorator: makes a function, which returns the exit code, the command of its file.

    Args:
        examples: lines to type, at least one.
        keys: whether it also takes keys of a sweep.
        help: its help, where the function's docstring cannot be that.
    """
    cls = KeysCommand if keys else Command

    def decorate(function: Callable[..., int]) -> Command:
        return click.command(cls=cls, examples=examples, help=help)(function)

    return decorate


def usage_of(ctx: click.Context) -> str:
    """What to type: the command with its names, and without options that may be left out."""
    pieces = [p.make_metavar(ctx) for p in ctx.command.get_params(ctx) if _is_needed(p)]
    return " ".join([ctx.command_path, *pieces])


def usage_error_text(error: click.ClickException) -> str:
    """One line for a wrong command line: what, got, allowed, what to type."""
    ctx = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption) and ctx is not None:
        return str(unknown_name_error("option", error.option_name, option_names(ctx)))
    if not isinstance(error, click.BadParameter) or error.param is None or ctx is None:
        return error.format_message()
    name = _shown_name(error.param)
    if isinstance(error, click.MissingParameter):
        what = error.param.type.get_missing_message(error.param, ctx) or f"{name} is missing"
        listing = getattr(error.param.type, "listing", "")
        hint = f" ({listing} shows them all)" if listing else ""
        return f"{what}; type: {usage_of(ctx)}{_required_options(ctx)}{hint}"
    return f"{name}{'' if error.message.startswith(':') else ' '}{error.message}"


def option_names(ctx: click.Context) -> list[str]:
    """The long options of the command that `ctx` runs."""
    every = [name for p in ctx.command.get_params(ctx) for name in (*p.opts, *p.secondary_opts)]
    return [name for name in every if name.startswith("--")]


def common_options() -> list[click.Option]:
    """The options that every command has, also before its name."""
    return [
        click.Option(
            ["--plugins"], metavar="FOLDER|FILE|PACKAGE", multiple=True, is_eager=True,
            expose_value=False, callback=_add_plugins, help="Plug-ins of your own.",
        ),
        click.Option(
            ["--quiet"], is_flag=True, expose_value=False, callback=_set_output,
            show_default=False, help="Print results and errors only, no progress.",
        ),
        click.Option(
            ["--verbose"], is_flag=True, expose_value=False, callback=_set_output,
            show_default=False, help="Print each epoch, too, and where in the code an error arose.",
        ),
        click.Option(
            ["--log-file"], metavar="FILE", type=click.Path(path_type=Path), expose_value=False,
            callback=_open_log, help="Append progress and messages to FILE, with times.",
        ),
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, show_default=False,
            callback=_print_version, help="Print the version.",
        ),
    ]  # fmt: skip


def _add_plugins(_ctx: click.Context, _param: click.Parameter, value: Iterable[str]) -> None:
    for one in value:
        from chorale.datasets.plugin_folders import add_plugins

        add_plugins(one)


def _set_output(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    line = ctx.find_root().obj
    if value and isinstance(line, CommandLine):
        if param.name == "verbose" and not line.verbose:
            from chorale.search.console.log_file import printed_details

            ctx.find_root().with_resource(printed_details())
        setattr(line, str(param.name), True)
        if line.quiet and line.verbose:
            raise click.UsageError("--quiet and --verbose exclude each other; leave one out", ctx)


def _open_log(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is None or ctx.resilient_parsing:
        return
    from chorale.search.commands.output_file import require_writable
    from chorale.search.console.log_file import logging_to

    file = require_writable(value, option="--log-file")
    ctx.find_root().with_resource(logging_to(file))


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from chorale.cluster.versions import DISTRIBUTION, version_of

        click.echo(f"chorale {version_of(DISTRIBUTION)}")
        ctx.exit()


def _expected(names: Sequence[click.Argument]) -> str:
    if not names:
        return "no name"
    kinds = [p.type.name for p in names]
    return (
        f"the name of one {kinds[0]}"
        if kinds[0] != "text"
        else f"one {names[0].human_readable_name}"
    )


def _is_needed(param: click.Parameter) -> bool:
    return isinstance(param, click.Argument)


def _shown_name(param: click.Parameter) -> str:
    if isinstance(param, click.Argument):
        return param.human_readable_name
    return max(param.opts, key=len)


def _required_options(ctx: click.Context) -> str:
    needed = [p for p in ctx.command.get_params(ctx) if isinstance(p, click.Option) and p.required]
    return "".join(f" {_shown_name(p)} {p.make_metavar(ctx)}" for p in needed)


def require(condition: object, text: str) -> None:
    """Refuses options that do not fit each other.

    Raises:
        click.UsageError: `condition` is false.
    """
    if not condition:
        raise click.UsageError(text, click.get_current_context(silent=True))
