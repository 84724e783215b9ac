"""The sweep of `test_sweep` on a private Ray."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chorale.search.cli import main


@pytest.mark.ray
@pytest.mark.slow
def test_the_same_sweep_runs_on_ray(
    tiny: list[str], check_report: Callable[[Any], None], tmp_path: Path
) -> None:
    assert main(["sweep", *tiny, "--cluster.address", "local"]) == 0
    found = json.loads((tmp_path / "runs" / "tiny" / "report.json").read_text())
    check_report(found)
    assert found["ensemble"]["test"]["accuracy"] > 0.8
