"""The command line: a table of commands. Nothing heavy is imported before a command is chosen."""

import difflib
import os
import select
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from chorale.cluster import environment
from chorale.search import garbage_collection, interrupts

DISK_FULL_ADVICE = (
    "what was finished is kept: free some space, or make the folder writable, then type the same "
    "again or, for a study that has begun: chorale resume STUDY"
)
"""What to do about a full disk."""


PLUGINS = "--plugins"
"""The option of every command that adds plug-ins from outside (see `datasets.plugin_folders`)."""

EXIT_BROKEN_PIPE = 141
"""As of a program that is ended by SIGPIPE."""


@dataclass(frozen=True)
class Command:
    """One command: a line of help, and its function, which gets the arguments after its name."""

    help: str
    run: Callable[[Sequence[str]], int]


def _in(file: str) -> Callable[[Sequence[str]], int]:
    """The `run` function of a file in `search/commands`, or its `HELP`; imported when called."""

    def run(args: Sequence[str]) -> int:
        command = import_module(f"chorale.search.commands.{file}")
        if hasattr(command, "HELP") and any(arg in ("-h", "--help") for arg in args):
            print(command.HELP)  # `sweep` computes its own
            return 0
        return int(command.run(args))

    return run


COMMANDS: Mapping[str, Command] = {
    "sweep": Command(
        "search, ensemble and score on a dataset; without a file, the demo", _in("sweep")
    ),
    "submit": Command("run a sweep on a cluster, as a job", _in("submit")),
    "jobs list": Command("the jobs on a cluster", _in("jobs_list")),
    "jobs logs": Command("what a job printed; --follow prints what comes next", _in("jobs_logs")),
    "jobs stop": Command("stop a job, so that it can be resumed later", _in("jobs_stop")),
    "doctor": Command("check this machine, or every node of a cluster", _in("doctor")),
    "status": Command("the progress of a study, also while it runs", _in("status")),
    "list": Command("all studies", _in("list")),
    "leaderboard": Command("the trials of a study, best first", _in("leaderboard")),
    "compare": Command("studies on the test tracks that they share", _in("compare")),
    "robustness": Command("test accuracy under codecs, noise, rooms and cuts", _in("robustness")),
    "ensemble": Command(
        "fit a study's ensembles again, on its predictions and without training", _in("ensemble")
    ),
    "report": Command("an HTML report of a study", _in("report")),
    "export": Command("package a study's ensemble as a bundle, or as ONNX", _in("export")),
    "compress": Command(
        "distil an ensemble into one small network within a latency limit", _in("compress")
    ),
    "predict": Command("classify recordings with a study's ensemble or a bundle", _in("predict")),
    "serve": Command("serve a bundle over HTTP, with a page for uploads", _in("serve")),
    "library add": Command("store the embeddings of tracks in a library", _in("library_add")),
    "library list": Command("what is in a library", _in("library_list")),
    "recommend": Command("a playlist from a library, similar to given tracks", _in("recommend")),
    "nightly": Command("one nightly run of a schedule, and its verdict", _in("nightly")),
    "schedule run": Command(
        "keep running, and start each nightly run on time", _in("schedule_run")
    ),
    "champion show": Command("the current champion, and why it is", _in("champion_show")),
    "champion history": Command("all champions, and since when", _in("champion_history")),
    "champion health": Command("the accuracy to expect of served answers", _in("champion_health")),
    "champion promote": Command("make a study's ensemble the champion", _in("champion_promote")),
    "champion rollback": Command("restore the previous champion", _in("champion_rollback")),
    "tensorboard": Command(
        "curves, parameters, images and embeddings in TensorBoard", _in("tensorboard")
    ),
    "dashboard": Command("the trials in optuna-dashboard", _in("dashboard")),
    "track sync": Command("write a study to an experiment tracker (MLflow)", _in("track_sync")),
    "track champion": Command(
        "register the champion in the tracker of its study", _in("track_champion")
    ),
    "study note": Command("write a note on a study, or print it", _in("study_note")),
    "study tag": Command("add tags to a study, or remove them", _in("study_tag")),
    "study rename": Command("give a study another name", _in("study_rename")),
    "study delete": Command("remove studies with their files", _in("study_delete")),
    "disk": Command("what takes how much space, and what removes it", _in("disk")),
    "backup": Command("all studies with their ledger in one archive", _in("backup")),
    "resume": Command("resume an interrupted study", _in("resume")),
    "data list": Command("the datasets that Chorale can read", _in("data_list")),
    "data fetch": Command("download a dataset", _in("data_fetch")),
    "data check": Command(
        "all problems of a dataset's tracks, and leaks between the sides of its split",
        _in("data_check"),
    ),
    "data prune": Command("remove cached features that no study needs", _in("data_prune")),
    "data leak": Command("the accuracy that a leaking split would report", _in("data_leak")),
    "encoder list": Command("the pretrained encoders, and which are fetched", _in("encoder_list")),
    "encoder fetch": Command("fetch the weights of a pretrained encoder", _in("encoder_fetch")),
    "encoder check": Command("verify encoders, and run them on noise", _in("encoder_check")),
    "encoder add": Command("add a network of your own as an encoder", _in("encoder_add")),
}
"""Command name, of one or two words, -> command."""


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0, 1 for a user's mistake, 130 when interrupted.

    Without `args` it is the process's command, as typed; 141 where what reads the output has ended.
    """
    if args is not None:
        return _run_command(list(args), is_process=False)
    try:
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
    if not args or args[0] in ("-h", "--help"):
        print(_help())
        return 0 if args else 2
    if args[0] == "--version":
        from chorale.cluster.versions import DISTRIBUTION, version_of

        print(f"chorale {version_of(DISTRIBUTION)}")
        return 0
    name = " ".join(args[:2]) if " ".join(args[:2]) in COMMANDS else args[0]
    command = COMMANDS.get(name)
    if command is None:
        return _answer_unknown(args)
    if is_process:
        garbage_collection.collect_rarely()
        import_module("chorale.lightning_models.patches.lean_lightning")
    environment.set_missing_user_and_home()
    interrupts.install_handlers(lambda: f"chorale {name}: {interrupts.GRACE_PERIOD_OVER}\n")
    from chorale.cluster.base import ClusterError
    from chorale.datasets.disk import UNWRITABLE_ERRNOS, write_error_text
    from chorale.datasets.errors import UserError

    code: int | None = None
    try:
        code = _run(command, _enter_job_folder(_add_plugins(args[len(name.split()) :])))
    except (UserError, ClusterError) as error:
        print(f"chorale {name}: {error}", file=sys.stderr)
        code = 1
    except OSError as error:
        if error.errno in UNWRITABLE_ERRNOS:
            print(f"chorale {name}: {write_error_text(error)}; {DISK_FULL_ADVICE}", file=sys.stderr)
            code = 1
        else:
            code = _not_imported(name, error)
    except Exception as error:
        code = _not_imported(name, error)
    except KeyboardInterrupt:
        print(f"chorale {name}: interrupted", file=sys.stderr)
        code = interrupts.EXIT_INTERRUPTED
    finally:
        if is_process:
            interrupts.prepare_exit(code)
        else:
            interrupts.finish()
    return code


def _not_imported(name: str, error: Exception) -> int:
    """Prints one line about a library that cannot be imported; returns the exit code.

    Raises:
        Exception: the error itself, where it is something else.
    """
    from chorale.cluster.imports import explain_import_error

    line = explain_import_error(error)
    if line is None:
        raise error
    print(f"chorale {name}: {line} (all checks: chorale doctor)", file=sys.stderr)
    return 1


def _run(command: Command, args: Sequence[str]) -> int:
    """Runs a command; whatever it raises after a signal counts as an interruption."""
    try:
        return command.run(args)
    except (Exception, SystemExit) as error:
        if not interrupts.was_interrupted():
            raise
        raise KeyboardInterrupt from error


def _add_plugins(args: Sequence[str]) -> list[str]:
    """Adds what follows each `--plugins` for all that this command runs; the other arguments.

    Raises:
        UserError: there is no such plug-in.
    """
    from chorale.datasets.errors import UserError
    from chorale.datasets.plugin_folders import add_plugins

    rest, words = list[str](), list(args)
    while words:
        word = words.pop(0)
        if word != PLUGINS and not word.startswith(f"{PLUGINS}="):
            rest.append(word)
            continue
        value = word.partition("=")[2] or (words.pop(0) if words else "")
        if not value or value.startswith("--"):
            raise UserError(f"{PLUGINS} needs a folder, file or package: {PLUGINS} my_plugins")
        add_plugins(value)
    return rest


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


def _answer_unknown(args: Sequence[str]) -> int:
    """What there is instead of an unknown command: its group, or all; returns the exit code.

    The first word alone (`chorale data`) lists the commands that begin with it.
    """
    group = {name: one for name, one in COMMANDS.items() if name.split()[0] == args[0]}
    second = args[1] if len(args) > 1 else "--help"
    if group and second in ("-h", "--help"):
        print(_help(group))
        return 0 if len(args) > 1 else 2
    name = f"{args[0]} {second}" if group else args[0]
    near = difflib.get_close_matches(name, group or COMMANDS, n=1, cutoff=0.6)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    print(f"chorale: unknown command '{name}'{hint}\n\n{_help(group or COMMANDS)}", file=sys.stderr)
    return 2


def _help(commands: Mapping[str, Command] = COMMANDS) -> str:
    lines = [
        "Chorale: hyperparameter search for audio classifiers, with honest scores.",
        "",
        "usage: chorale COMMAND ...   (details: chorale COMMAND --help)",
        "",
    ]
    lines += [f"  {name:<17} {command.help}" for name, command in commands.items()]
    lines += ["", f"{PLUGINS} FOLDER|FILE|PACKAGE   with any command: plug-ins of your own"]
    return "\n".join(lines)
