"""The README is true: its commands are those that CI runs, and what it names exists."""

import re
from pathlib import Path

import pytest

from chorale.datasets import features, plugins
from chorale.lightning_models import architectures
from chorale.search.cli import COMMANDS
from chorale.search.yaml_file import SHIPPED

ROOT = Path(__file__).parent.parent


def _commands() -> list[str]:
    readme = (ROOT / "README.md").read_text()
    blocks: list[str] = re.findall(r"```(?:bash|sh)\n(.*?)```", readme, flags=re.DOTALL)
    return [line for block in blocks for line in block.strip().splitlines()]


def test_ci_runs_the_readmes_test_line() -> None:
    [test_line] = [line for line in _commands() if line.endswith("-m pytest")]
    assert test_line in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_first_command_installs_and_sweeps() -> None:
    first = _commands()[0]
    assert re.fullmatch(
        r"python3 -m venv \.venv && \.venv/bin/pip install -e \. && \.venv/bin/chorale sweep", first
    )


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
