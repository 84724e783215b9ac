"""The command line: a table of commands. Nothing heavy is imported before a command is chosen."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from chorale.cluster import environment
from chorale.search import collecting, interrupts

MAKE_ROOM = (
    "what was finished is kept: make room, or let the folder be written, then type the same again "
    "or, for a study that has begun: chorale resume STUDY"
)
"""What to do about a full disk."""


@dataclass(frozen=True)
class Command:
    """One command: a line of help, and what runs it; `run` gets the words that follow its name."""

    help: str
    run: Callable[[Sequence[str]], int]


def _in(file: str) -> Callable[[Sequence[str]], int]:
    """The `run` of a file in `search/commands`, imported when it is called."""

    def run(words: Sequence[str]) -> int:
        return int(import_module(f"chorale.search.commands.{file}").run(words))

    return run


COMMANDS: Mapping[str, Command] = {
    "sweep": Command(
        "search, ensemble and score on a dataset; without a file, the demo", _in("sweep")
    ),
    "submit": Command("run a sweep on a cluster, as a job", _in("submit")),
    "jobs list": Command("the jobs on a cluster", _in("jobs_list")),
    "jobs logs": Command("what a job printed; --follow goes on", _in("jobs_logs")),
    "jobs stop": Command("stop a job, so that it can go on later", _in("jobs_stop")),
    "doctor": Command("is all well on this machine, or on every node of a cluster", _in("doctor")),
    "status": Command("how far a study is, also while it runs", _in("status")),
    "list": Command("all studies", _in("list")),
    "leaderboard": Command("the trials of a study, best first", _in("leaderboard")),
    "ensemble": Command(
        "make the ensembles of a study again, from the bank and without training", _in("ensemble")
    ),
    "report": Command("one page about a study, to be read in a browser", _in("report")),
    "export": Command("the ensemble of a study as a folder that predicts by itself", _in("export")),
    "compress": Command(
        "an ensemble as one small network that keeps to a latency", _in("compress")
    ),
    "predict": Command("what recordings are, by a study's ensemble or a bundle", _in("predict")),
    "serve": Command("a bundle behind HTTP, with a page to drop recordings on", _in("serve")),
    "library add": Command("keep how tracks sound to a bundle", _in("library_add")),
    "library list": Command("what is in a library", _in("library_list")),
    "recommend": Command("a playlist from a library, like what was heard", _in("recommend")),
    "nightly": Command("one night of a schedule, and its verdict", _in("nightly")),
    "schedule run": Command("stay, and call each night when it is due", _in("schedule_run")),
    "champion show": Command("who is champion, and why", _in("champion_show")),
    "champion history": Command("who was champion, and when", _in("champion_history")),
    "champion promote": Command("make a study's ensemble the champion", _in("champion_promote")),
    "champion rollback": Command("bring the last champion back", _in("champion_rollback")),
    "tensorboard": Command(
        "curves, parameters, pictures and embeddings in a browser", _in("tensorboard")
    ),
    "dashboard": Command("the trials in a browser, by optuna-dashboard", _in("dashboard")),
    "resume": Command("go on with an interrupted study", _in("resume")),
    "data list": Command("the datasets that Chorale can read", _in("data_list")),
    "data fetch": Command("download a dataset", _in("data_fetch")),
    "data check": Command(
        "all that is wrong with a sweep's tracks, and what its split lets through",
        _in("data_check"),
    ),
    "data prune": Command("remove cached features that no study needs", _in("data_prune")),
    "data leak": Command("what a careless split would have claimed", _in("data_leak")),
}
"""What can be typed after `chorale`: one word, or two."""


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; gives the exit code: 0, 1 for a user's mistake, 130 when interrupted."""
    is_process = words is None
    words = list(sys.argv[1:] if words is None else words)
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return 0 if words else 2
    if words[0] == "--version":
        from chorale.cluster.versions import NAME, version_of

        print(f"chorale {version_of(NAME)}")
        return 0
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    command = COMMANDS.get(name)
    if command is None:
        print(f"chorale: unknown command '{name}'\n\n{_help()}", file=sys.stderr)
        return 2
    if is_process:
        collecting.seldom()
    environment.complete()
    interrupts.listen(lambda: f"chorale {name}: {interrupts.CUT_SHORT}\n")
    from chorale.cluster.base import ClusterError
    from chorale.datasets.disk import NO_ROOM, no_room
    from chorale.datasets.errors import UserError

    code: int | None = None
    try:
        code = _run(command, _settled(words[len(name.split()) :]))
    except (UserError, ClusterError) as error:
        print(f"chorale {name}: {error}", file=sys.stderr)
        code = 1
    except OSError as error:
        if error.errno in NO_ROOM:
            print(f"chorale {name}: {no_room(error)}; {MAKE_ROOM}", file=sys.stderr)
            code = 1
        else:
            code = _not_imported(name, error)
    except Exception as error:
        code = _not_imported(name, error)
    except KeyboardInterrupt:
        print(f"chorale {name}: interrupted", file=sys.stderr)
        code = interrupts.INTERRUPTED
    finally:
        if is_process:
            interrupts.leave(code)
        else:
            interrupts.over()
    return code


def _not_imported(name: str, error: Exception) -> int:
    """One line about a library that cannot be imported; gives the exit code.

    Raises:
        Exception: the error itself, where it is something else.
    """
    from chorale.cluster.imports import cannot_import

    line = cannot_import(error)
    if line is None:
        raise error
    print(f"chorale {name}: {line} (all checks: chorale doctor)", file=sys.stderr)
    return 1


def _run(command: Command, words: Sequence[str]) -> int:
    """Runs a command; what it raises after a signal is that signal's doing."""
    try:
        return command.run(words)
    except (Exception, SystemExit) as error:
        if not interrupts.received():
            raise
        raise KeyboardInterrupt from error


def _settled(words: Sequence[str]) -> list[str]:
    """Goes where a job's results are kept; files that the words name stay what they were.

    A job starts in a copy of the code that Ray removes after it, and that each version of the code
    has of its own.
    """
    from chorale.cluster.environment import in_job

    if not in_job():
        return list(words)
    kept = [str(Path(word).absolute()) if Path(word).is_file() else word for word in words]
    os.chdir(Path.home())
    return kept


def _help() -> str:
    lines = [
        "Chorale: hyperparameter search for audio classifiers, with honest scores.",
        "",
        "usage: chorale COMMAND ...   (chorale COMMAND --help says more)",
        "",
    ]
    lines += [f"  {name:<17} {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(lines)
