"""The README is true: its commands are those that CI runs, and what it names exists."""

import re
from pathlib import Path

import pytest

from chorale.datasets import features, plugins
from chorale.lightning_models import architectures
from chorale.search.cli import COMMANDS
from chorale.search.config.yaml_file import SHIPPED

ROOT = Path(__file__).parent.parent


def _commands() -> list[str]:
    readme = (ROOT / "README.md").read_text()
    blocks: list[str] = re.findall(r"```(?:bash|sh)\n(.*?)```", readme, flags=re.DOTALL)
    return [line for block in blocks for line in block.strip().splitlines()]


def test_ci_runs_the_readmes_lines() -> None:
    lines = _commands()
    [tests] = [i for i, line in enumerate(lines) if line == "python -m pytest"]
    assert lines[2] == "chorale sweep"
    wanted = [*lines[:2], *lines[tests - 1 : tests + 1]]
    assert [
        line for line in wanted if "venv" in line or "pip" in line or "pytest" in line
    ] == wanted
    ran = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in ran if line in wanted] == wanted


def test_what_is_typed_first_installs_the_lock() -> None:
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
        plugins.names(architectures),
        plugins.names(features),
        sorted(path.stem for path in SHIPPED.glob("*.yaml")),
        [f"chorale {name}" for name in COMMANDS],
    ],
    ids=["architectures", "features", "sweeps", "commands"],
)
def test_the_readme_names_all_that_there_is(names: list[str]) -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in names if not re.search(rf"`{name}[` ]", readme)] == []
