"""The workers of pytest-xdist: all tests of a file run in one of them."""

import os
from pathlib import Path

import pytest


@pytest.mark.parametrize("_", range(12))
def test_a_files_tests_run_in_one_process(tmp_path_factory: pytest.TempPathFactory, _: int) -> None:
    of_run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        of_run = of_run.parent  # which all workers share
    seen: Path = of_run / "workers"
    with seen.open("a") as file:
        file.write(f"{os.getpid()}\n")
    assert set(seen.read_text().split()) == {str(os.getpid())}
