from pathlib import Path

import pytest
import yaml

from chorale.search.config.resolve import resolve
from chorale.search.config.schema import load, to_yaml
from chorale.search.config.yaml_file import SHIPPED

SWEEPS = sorted(path for path in SHIPPED.glob("*.yaml") if not path.stem.startswith("nightly_"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_shipped_sweep_resolves(path: Path) -> None:
    sweep = load(str(path), {})
    resolved = resolve(sweep, where=str(path))
    assert resolved.space.architectures
    assert sweep.name == path.stem


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_resolved_sweep_reads_back_as_itself(path: Path, tmp_path: Path) -> None:
    sweep = load(str(path), {"budget.trials": 3})
    written = tmp_path / "sweep.yaml"
    written.write_text(to_yaml(sweep))
    assert load(str(written), {}) == sweep
    assert yaml.safe_load(written.read_text())["budget"]["trials"] == 3


def test_the_demo_is_shipped() -> None:
    assert "demo" in {path.stem for path in SWEEPS}
