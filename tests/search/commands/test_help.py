"""The help of every command, its hints for wrong words, completion, keys and spaces."""

import os
import subprocess
import sys
from importlib import import_module

import click
import pytest

from chorale.datasets import plugins
from chorale.lightning_models import architectures
from chorale.search.champion.health.alarm import N_RECENT
from chorale.search.cli import COMMANDS, EXIT_USAGE, SECTIONS, main
from chorale.search.commands import champion_health
from chorale.search.commands.command import COMPLETE_VARIABLE, Command


def imported_by(*commands: list[str], heavy: set[str]) -> tuple[int, str]:
    """The exit code and stderr of a process that runs commands; modules of `heavy` fail it."""
    runs = "; ".join(f"main({args!r})" for args in commands)
    code = (
        f"import sys; from chorale.search.cli import main; {runs}; "
        f"sys.exit(','.join(sorted({heavy!r} & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_the_help_of_all_commands_and_of_groups_imports_no_command() -> None:
    heavy = {"torch", "ray", "optuna", "rich", "pydantic", "sqlalchemy", "numpy"}
    heavy |= {f"chorale.search.commands.{name}" for name in ("sweep", "status", "data_list")}
    assert imported_by(["--help"], ["data", "--help"], ["champion"], heavy=heavy) == (0, "")


def test_the_top_level_help_has_the_commands_by_topic(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    places = [lines.index(f"{topic}:") for topic in SECTIONS]
    assert places == sorted(places)
    assert any(line.startswith("  --log-file FILE") for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_with_its_usage_and_examples(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: chorale {name}")
    examples = shown.partition("Examples:\n")[2].splitlines()
    assert examples
    assert all(f"chorale {name}" in line for line in examples)
    assert "--plugins, --quiet, --verbose, --log-file, --version" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_has_a_text(name: str) -> None:
    run = import_module(f"chorale.search.commands.{name.replace(' ', '_')}").run
    assert isinstance(run, Command)
    options = [param for param in run.params if isinstance(param, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_the_number_of_answers_is_that_of_the_alarm() -> None:
    assert champion_health.N_RECENT == N_RECENT


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["stauts"], "chorale: unknown command 'stauts'; did you mean 'status'? all commands: "),
        (["data", "lst"], "chorale data: unknown command 'data lst'; did you mean 'data list'?"),
        (["status", "--wacth"], "unknown option '--wacth'; did you mean '--watch'?"),
        (["status", "-x"], "chorale status: unknown option '-x'; choose from: "),
        (["--colour", "list"], "chorale: unknown option '--colour'; choose from: "),
        (["list", "--quiet", "--verbose"], "--quiet and --verbose exclude each other"),
        (["ensemble", "a", "--baselines", "atuo"], "--baselines: unknown choice 'atuo'; did you"),
        (["sweep", "demo", "--dry-run"], "chorale sweep: unknown option '--dry-run'; "),
        (["sweep", "demo", "-n", "3"], "chorale sweep: unknown option '-n'; "),
        (["sweep", "demo", "other"], "expected one sweep or folder, but got demo other"),
        (["resume"], "expected the name of one study (chorale resume STUDY), but got none"),
        (["nightly", "--night", "today", "x"], "--night should be a date, YYYY-MM-DD, but got"),
        (["completion", "csh"], "unknown choice 'csh'; "),
        (["space"], "expected the name of an architecture; type: chorale space ARCHITECTURE"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    args: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == EXIT_USAGE
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert expected in line


def test_an_unknown_dataset_is_answered_with_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--dataset", "fsd"]) == 1
    assert "dataset: there is no dataset and no folder 'fsd'; type" in capsys.readouterr().err


def completed(*words: str) -> list[str]:
    """The values that the shell offers for the last word."""
    typed = ["chorale", *words]
    asked = {COMPLETE_VARIABLE: "bash_complete", "COMP_CWORD": str(len(typed) - 1)}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "chorale.search"],
        env={**os.environ, **asked, "COMP_WORDS": " ".join(typed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "torch" not in {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_shells_complete_commands_options_and_names(
    tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("first", "finer", "other"):
        os.makedirs(f"runs/{name}")  # noqa: PTH103
        open(f"runs/{name}/sweep.yaml", "w").close()  # noqa: PTH123
    assert completed("champ") == ["champion"]
    assert completed("data", "l") == ["list", "leak"]
    assert completed("report", "--op") == ["--open"]
    assert completed("report", "fi") == ["finer", "first"]
    assert {"gtzan", "gtzan_features"} <= set(completed("sweep", "gtzan"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_shell_is_printed(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    shown = capsys.readouterr().out
    assert f"{COMPLETE_VARIABLE}={shell}_complete" in shown


@pytest.mark.parametrize(
    ("path", "n", "first"),
    [
        ("budget", 6, "  --budget.trials (null)"),
        ("budget.minutes", 1, "  --budget.minutes (null)"),
        ("dataset.fsdd", 1, "  --dataset.root"),
    ],
)
def test_keys_are_narrowed_by_a_path(
    path: str, n: int, first: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], len(lines)) == (first, 2 * n)


def test_an_unknown_key_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "budget.minute"]) == 1
    assert "did you mean 'budget.minutes'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*plugins.plugin_names(architectures), "train"])
def test_the_space_of_each_architecture_is_shown(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["space", name]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == f"{name}: {len(lines) // 2} searched parameters"
    assert all(line.startswith(f"  --space.{name}.") for line in lines[::2])
    assert all(line.strip() for line in lines)
