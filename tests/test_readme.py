"""The README matches the code: CI runs its commands, and the files and names in it exist."""

import re
from pathlib import Path

import pytest

from chorale.datasets import features, plugins
from chorale.lightning_models import architectures
from chorale.search.cli import COMMANDS, EXIT_BROKEN_PIPE
from chorale.search.config.yaml_file import SHIPPED_SWEEPS
from chorale.search.interrupts import EXIT_INTERRUPTED
from chorale.search.nightly import records, scheduler

ROOT = Path(__file__).parent.parent


def _commands() -> list[str]:
    readme = (ROOT / "README.md").read_text()
    blocks: list[str] = re.findall(r"```(?:bash|sh)\n(.*?)```", readme, flags=re.DOTALL)
    return [line for block in blocks for line in block.strip().splitlines()]


def test_ci_runs_the_readmes_lines() -> None:
    lines = _commands()
    [tests] = [i for i, line in enumerate(lines) if line == "python -m pytest"]
    assert lines[2] == "chorale sweep"
    expected = [*lines[:2], *lines[tests - 1 : tests + 1]]
    assert [
        line for line in expected if "venv" in line or "pip" in line or "pytest" in line
    ] == expected
    ran = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in ran if line in expected] == expected


def test_the_install_commands_install_the_lock() -> None:
    for line in (line for line in _commands() if "pip install" in line):
        lock, then = line.split(" && ")
        assert (ROOT / lock.removeprefix("pip install -r ")).is_file()
        assert then == "pip install --no-deps --no-build-isolation -e ."


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize(
    "names",
    [
        plugins.plugin_names(architectures),
        plugins.plugin_names(features),
        sorted(path.stem for path in SHIPPED_SWEEPS.glob("*.yaml")),
        [f"chorale {name}" for name in COMMANDS],
    ],
    ids=["architectures", "features", "sweeps", "commands"],
)
def test_the_readme_names_every_plugin_sweep_and_command(names: list[str]) -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [name for name in names if not re.search(rf"`{name}[` ]", readme)]
    assert missing == [], "name them in README.md: in `What is searched`, or in a table of commands"


def test_the_table_of_exit_codes_has_every_code_of_the_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    table = readme.partition("| exit code | of every command |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([\d, ]+) \|", table, flags=re.MULTILINE)
    codes = {int(code) for row in rows for code in row.split(",")}
    nightly = {*records.VERDICT_EXIT_CODES.values(), records.EXIT_REFUSED, records.EXIT_BUSY}
    assert codes == {0, 1, 2, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE, records.EXIT_FAILED} | nightly
    assert scheduler.EXIT_CODE_TEXTS.keys() <= codes
