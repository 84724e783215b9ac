"""The command line: a table of commands. Nothing heavy is imported before a command is chosen."""

import difflib
import os
import select
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import click

from chorale.cluster import environment
from chorale.search import garbage_collection, interrupts
from chorale.search.commands.command import (
    COMPLETE_VARIABLE,
    CommandLine,
    common_options,
    usage_error_text,
)

DISK_FULL_ADVICE = (
    "what was finished is kept: free some space, or make the folder writable, then type the same "
    "again or, for a study that has begun: chorale resume STUDY"
)
"""What to do about a full disk."""

EXIT_BROKEN_PIPE = 141
"""As of a program that is ended by SIGPIPE."""
EXIT_USAGE = 2
"""A wrong command line: an unknown command or option, or a wrong value."""

TITLE = "Chorale: hyperparameter search for audio classifiers, with honest scores."

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "search": {
        "sweep": "search, ensemble and score on a dataset; without a file, the demo",
        "resume": "resume an interrupted study",
        "keys": "the keys of a sweep file, with their defaults",
        "space": "the parameters of an architecture that a sweep searches",
    },
    "results": {
        "status": "the progress of a study, also while it runs",
        "list": "all studies",
        "leaderboard": "the trials of a study, best first",
        "report": "an HTML report of a study",
        "compare": "studies on the test tracks that they share",
        "ensemble": "fit a study's ensembles again, on its predictions and without training",
        "study note": "write a note on a study, or print it",
        "study tag": "add tags to a study, or remove them",
        "study rename": "give a study another name",
        "study delete": "remove studies with their files",
        "robustness": "test accuracy under codecs, noise, rooms and cuts",
        "tensorboard": "curves, parameters, images and embeddings in TensorBoard",
        "dashboard": "the trials in optuna-dashboard",
        "track sync": "write a study to an experiment tracker (MLflow)",
        "track champion": "register the champion in the tracker of its study",
    },
    "models in use": {
        "predict": "classify recordings with a study's ensemble or a bundle",
        "export": "package a study's ensemble as a bundle, or as ONNX",
        "compress": "distil an ensemble into one small network within a latency limit",
        "serve": "serve a bundle over HTTP, with a page for uploads",
        "library add": "store the embeddings of tracks in a library",
        "library list": "what is in a library",
        "recommend": "a playlist from a library, similar to given tracks",
    },
    "every night": {
        "nightly": "one nightly run of a schedule, and its verdict",
        "schedule run": "keep running, and start each nightly run on time",
        "champion show": "the current champion, and why it is",
        "champion history": "all champions, and since when",
        "champion health": "the accuracy to expect of served answers",
        "champion promote": "make a study's ensemble the champion",
        "champion rollback": "restore the previous champion",
    },
    "data and encoders": {
        "data list": "the datasets that Chorale can read",
        "data fetch": "download a dataset",
        "data check": "all problems of a dataset's tracks, and of its split",
        "data prune": "remove cached features that no study needs",
        "data leak": "the accuracy that a leaking split would report",
        "encoder list": "the pretrained encoders, and which are fetched",
        "encoder fetch": "fetch the weights of a pretrained encoder",
        "encoder check": "verify encoders, and run them on noise",
        "encoder add": "add a network of your own as an encoder",
    },
    "clusters and this machine": {
        "disk": "what takes how much space, and what removes it",
        "backup": "all studies with their ledger in one archive",
        "submit": "run a sweep on a cluster, as a job",
        "jobs list": "the jobs on a cluster",
        "jobs logs": "what a job printed; --follow prints what comes next",
        "jobs stop": "stop a job, so that it can be resumed later",
        "doctor": "check this machine, or every node of a cluster",
        "completion": "the script that completes commands in bash, zsh or fish",
    },
}
"""Topic of the help -> name of a command, of one or two words -> what it does, in one line."""

COMMANDS = {name: text for section in SECTIONS.values() for name, text in section.items()}
"""Command name, of one or two words, -> what it does."""

SETTINGS = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
    "show_default": True,
}


class CommandGroup(click.Group):
    """Commands that are imported once they are chosen: all of them, or those of a first word."""

    def __init__(self, first_word: str | None = None) -> None:
        """All commands; with `first_word` those whose name begins with it."""
        params = [] if first_word else common_options()
        super().__init__(first_word or "chorale", params=list(params), context_settings=SETTINGS)
        self.first_word = first_word
        self.sections = {
            topic: own
            for topic, section in SECTIONS.items()
            if (own := {n: t for n, t in section.items() if first_word in (None, n.split()[0])})
        }

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The words that may follow."""
        del ctx
        names = [name for section in self.sections.values() for name in section]
        return list(dict.fromkeys(name.split()[int(self.first_word is not None)] for name in names))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command or group of that word; imports the command's file."""
        del ctx
        name = self._full_name(cmd_name)
        if name in COMMANDS:
            module = import_module(f"chorale.search.commands.{name.replace(' ', '_')}")
            found: click.Command = module.run
            return found
        is_group = any(name == one.split()[0] for one in COMMANDS)
        return CommandGroup(name) if is_group else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names.

        Raises:
            click.UsageError: there is none; the nearest one is suggested.
        """
        if args[0] not in self.list_commands(ctx) and not ctx.resilient_parsing:
            raise click.UsageError(self._unknown(args[0], ctx), ctx)
        if isinstance(line := ctx.find_root().obj, CommandLine):
            line.path = f"{ctx.command_path} {args[0]}"
        found = self.get_command(ctx, args[0])
        return (args[0] if found else None), found, args[1:]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses options before the command; prints the help where there is nothing."""
        if not args and not ctx.resilient_parsing:
            click.echo(self.get_help(ctx))
            ctx.exit(EXIT_USAGE)
        return super().parse_args(ctx, args)

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> "list[click.shell_completion.CompletionItem]":
        """The words that may follow, without importing any command."""
        from click.shell_completion import CompletionItem

        words = [word for word in self.list_commands(ctx) if word.startswith(incomplete)]
        return [
            CompletionItem(word, help=COMMANDS.get(self._full_name(word))) for word in words
        ] or click.Command.shell_complete(self, ctx, incomplete)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands, by topic."""
        if self.first_word is None:
            formatter.write(f"{TITLE}\n\n")
        formatter.write(f"usage: {ctx.command_path} COMMAND ...\n")
        for topic, texts in self.sections.items():
            formatter.write(f"\n{topic}:\n" if self.first_word is None else "\n")
            formatter.write("".join(f"  {n:<18} {text}\n" for n, text in texts.items()))
        if self.first_word is None:
            records = [param.get_help_record(ctx) for param in self.get_params(ctx)]
            with formatter.section("with every command, also before its name"):
                formatter.write_dl([record for record in records if record is not None])

    def _full_name(self, word: str) -> str:
        return f"{self.first_word} {word}" if self.first_word else word

    def _unknown(self, word: str, ctx: click.Context) -> str:
        name, path = self._full_name(word), ctx.command_path
        known = [self._full_name(one) for one in self.list_commands(ctx)]
        near = difflib.get_close_matches(name, [*known, *COMMANDS], n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return f"unknown command '{name}'; {hint}all commands: {path} --help"


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, 1 for a user's mistake, 130 when interrupted.

    Without `args` it is the process's command, as typed; 141 where what reads the output has ended.
    """
    if args is not None:
        return _run_command(list(args), is_process=False)
    try:
        if asked := os.environ.get(COMPLETE_VARIABLE):
            from click.shell_completion import shell_complete

            return shell_complete(CommandGroup(), {}, "chorale", COMPLETE_VARIABLE, asked)
        code = _run_command(sys.argv[1:], is_process=True)
        sys.stdout.flush()
    except BrokenPipeError:
        if not _is_reader_gone(sys.stdout.fileno()):  # another pipe or socket
            raise
        # as of `| head`; nothing more may be written, also not at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        interrupts.prepare_exit(EXIT_BROKEN_PIPE)
        return EXIT_BROKEN_PIPE
    return code


def _is_reader_gone(descriptor: int) -> bool:
    """Whether what reads a pipe has ended."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _run_command(args: list[str], *, is_process: bool) -> int:
    """See `main`."""
    environment.set_missing_user_and_home()
    line = CommandLine(_enter_job_folder(args))
    interrupts.install_handlers(lambda: f"{line.path}: {interrupts.GRACE_PERIOD_OVER}\n")
    from chorale.cluster.base import ClusterError
    from chorale.datasets.disk import UNWRITABLE_ERRNOS, write_error_text
    from chorale.datasets.errors import UserError

    code: int | None = None
    try:
        code = _invoke(line, is_process=is_process)
    except click.exceptions.Exit as ended:  # of --help and --version
        code = ended.exit_code
    except click.ClickException as error:
        code = _fail(line, usage_error_text(error), code=EXIT_USAGE)
    except (UserError, ClusterError) as error:
        code = _fail(line, str(error))
    except OSError as error:
        if error.errno in UNWRITABLE_ERRNOS:
            code = _fail(line, f"{write_error_text(error)}; {DISK_FULL_ADVICE}")
        else:
            code = _not_imported(line, error)
    except Exception as error:
        code = _not_imported(line, error)
    except KeyboardInterrupt:
        code = _fail(line, "interrupted", code=interrupts.EXIT_INTERRUPTED)
    finally:
        if is_process:
            interrupts.prepare_exit(code)
        else:
            interrupts.finish()
    return code


def _invoke(line: CommandLine, *, is_process: bool) -> int:
    """Runs a command; whatever it raises after a signal counts as an interruption."""
    try:
        with CommandGroup().make_context("chorale", list(line.args), obj=line) as context:
            if is_process:
                garbage_collection.collect_rarely()
                import_module("chorale.lightning_models.patches.lean_lightning")
            return int(context.command.invoke(context))
    except (Exception, SystemExit) as error:
        if not interrupts.was_interrupted():
            raise
        raise KeyboardInterrupt from error


def _fail(line: CommandLine, text: str, *, code: int = 1) -> int:
    """Prints why the command failed; with --verbose also where. Returns the exit code."""
    if line.verbose and code == 1:
        traceback.print_exc()
    print(f"{line.path}: {text}", file=sys.stderr)
    return code


def _not_imported(line: CommandLine, error: Exception) -> int:
    """Prints one line about a library that cannot be imported; returns the exit code.

    Raises:
        Exception: the error itself, where it is something else.
    """
    from chorale.cluster.imports import explain_import_error

    text = explain_import_error(error)
    if text is None:
        raise error
    return _fail(line, f"{text} (all checks: chorale doctor)")


def _enter_job_folder(args: Sequence[str]) -> list[str]:
    """In a job: changes to the home folder; makes paths of existing files among `args` absolute.

    A job starts in Ray's copy of the code, which differs for each version of the code and is
    removed after the job.
    """
    from chorale.cluster.environment import in_ray_job

    if not in_ray_job():
        return list(args)
    kept = [str(Path(arg).absolute()) if Path(arg).is_file() else arg for arg in args]
    os.chdir(Path.home())
    return kept
