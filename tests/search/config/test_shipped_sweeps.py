from pathlib import Path

import pytest
import yaml

from chorale.search.config.resolve import resolve
from chorale.search.config.schema import load_sweep_config, sweep_yaml_text
from chorale.search.config.yaml_file import SHIPPED_SWEEPS

SWEEPS = sorted(
    path for path in SHIPPED_SWEEPS.glob("*.yaml") if not path.stem.startswith("nightly_")
)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_shipped_sweep_resolves(path: Path) -> None:
    sweep = load_sweep_config(str(path), {})
    resolved = resolve(sweep, where=str(path))
    assert resolved.space.architectures
    assert sweep.name == path.stem


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_written_sweep_reads_back_unchanged(path: Path, tmp_path: Path) -> None:
    sweep = load_sweep_config(str(path), {"budget.trials": 3})
    written = tmp_path / "sweep.yaml"
    written.write_text(sweep_yaml_text(sweep))
    assert load_sweep_config(str(written), {}) == sweep
    assert yaml.safe_load(written.read_text())["budget"]["trials"] == 3


def test_the_demo_is_shipped() -> None:
    assert "demo" in {path.stem for path in SWEEPS}
