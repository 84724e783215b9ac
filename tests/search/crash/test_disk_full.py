"""Sweeps on a full disk: each kind of write fails in turn, small disks, and a limit on file size.

A few run in the default suite; each kind, once and permanently, and many disk sizes:

    pytest tests/search/crash --all-crashes

Every single write of a sweep: `python tests/benchmarks/fill_disks.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TRIAL, FINAL = "s/trials/0001", "s/finalists/0001/fold-1-seed-0"
WRITES: Mapping[str, tuple[str, int]] = {
    # the data
    "ledger created": ("ledger", 1),
    "ledger created, Optuna's tables": ("ledger", 8),
    "audit": ("sync cache/audit.json", 1),
    "fingerprints": ("sync cache/fingerprints*", 2),
    "feature chunk": ("sync cache/*.npz", 3),
    "feature lock": ("open cache/*lock", 1),
    "feature store": ("open cache/*frames.npy", 1),
    "feature store synced": ("sync cache/*frames.npy", 1),
    # the search
    "study created": ("ledger", 11),
    "sweep file": ("open s/sweep.yaml", 1),
    "split": ("sync s/split.json", 1),
    "initial points": ("ledger", 18),
    "trial asked": ("ledger", 22),
    "config": (f"sync {TRIAL}/config.yaml", 1),
    "TensorBoard events": (f"open {TRIAL}/events*", 1),
    "TensorBoard events, later": (f"write {TRIAL}/events*", 2),
    "report": ("ledger", 26),
    "state": (f"sync {TRIAL}/state/*.safetensors", 2),
    "state's metadata": (f"sync {TRIAL}/state/state.json", 2),
    "metrics": (f"open {TRIAL}/metrics.csv", 1),
    "predictions": (f"sync {TRIAL}/predictions.safetensors", 1),
    "row": ("ledger", 30),
    "hyperparameters": (f"write {TRIAL}/events*hparams", 1),
    # the finalists
    "finalist's config": (f"open {FINAL}/config.yaml", 1),
    "finalist's state": (f"sync {FINAL}/state/*", 3),
    "checkpoint": (f"sync {FINAL}/weights/*.safetensors", 1),
    "checkpoint's card": (f"sync {FINAL}/weights/card.json", 1),
    "finalist's predictions": (f"open {FINAL}/predictions.safetensors", 1),
    # the end
    "ground truth": ("sync s/truth.json", 1),
    "baseline": ("sync s/baselines/*", 1),
    "ensemble": ("sync s/ensembles/*.json", 2),
    "ensemble's model": ("sync s/ensembles/*.safetensors", 3),
    "leaderboard": ("open s/leaderboard.csv", 1),
    "report.json": ("sync s/report.json", 1),
}
"""Name -> one write of the sweep: a pattern, and k for the k-th write that matches it."""

DEFAULT = (
    ("feature chunk", True),
    ("TensorBoard events, later", False),
    ("report.json", True),
)
DISK_SHARES = (0.35,)
"""Sizes of small disks, as a share of what the whole sweep takes."""
MAX_FILE_BYTES = (250_000,)
"""Limits on file size, in bytes; the ledger is the largest file."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    run_all = metafunc.config.getoption("--all-crashes", default=False)
    if "write" in metafunc.fixturenames:
        every = [(name, permanent) for name in WRITES for permanent in (False, True)]
        chosen = every if run_all else DEFAULT
        names = [f"{name}, {'permanent' if permanent else 'once'}" for name, permanent in chosen]
        metafunc.parametrize(("write", "permanent"), chosen, ids=names)
    if "share" in metafunc.fixturenames:
        shares = [i / 40 for i in range(1, 41)] if run_all else DISK_SHARES
        metafunc.parametrize("share", shares)
    if "max_file_bytes" in metafunc.fixturenames:
        limits = range(20_000, 700_000, 20_000) if run_all else MAX_FILE_BYTES
        metafunc.parametrize("max_file_bytes", limits)


@pytest.fixture
def sandbox(cases: ModuleType, script: ModuleType, uninterrupted: Any, tmp_path: Path) -> Any:
    """An empty folder for one sweep."""
    sandbox = cases.Sandbox(tmp_path / "case", uninterrupted.corpus)
    sandbox.set_up(script.write_sweep, cache=None)
    return sandbox


def test_a_full_disk_at_any_write_is_one_error_line_and_the_sweep_resumes(
    driver: Any,
    cases: ModuleType,
    disks: ModuleType,
    uninterrupted: Any,
    sandbox: Any,
    write: str,
    permanent: bool,
) -> None:
    like, k = WRITES[write]
    write_log = sandbox.root / "write-log"
    full = {"root": str(sandbox.runs), "k": k, "like": like, "permanent": permanent}
    logs = {"log": sandbox.log, "acks": str(sandbox.acks)}
    code = driver.run(sandbox.command(), **logs, full={**full, "write_log": str(write_log)})
    failed = [line[1:] for line in write_log.read_text().splitlines() if line.startswith("!")]
    assert failed, f"no {k}-th write like {like}: {write_log.read_text()}"
    optional = any(part in failed[0] for part in disks.OPTIONAL_FILES)
    assert code == (0 if optional and not permanent else 1), sandbox.log.read_text()
    assert disks.message_problems(code, sandbox.log.read_text()) == []
    before = sandbox.rows()
    if code:
        sandbox.log.unlink()
        code = driver.run(sandbox.command(), **logs)
    assert code == 0, sandbox.log.read_text()
    assert disks.differences(cases, sandbox, uninterrupted, before) == []


def test_a_small_disk_is_one_error_line_and_the_sweep_resumes_on_a_larger_one(
    driver: Any,
    cases: ModuleType,
    disks: ModuleType,
    uninterrupted: Any,
    sandbox: Any,
    share: float,
) -> None:
    n_bytes = int(disks.count_pages(uninterrupted.runs) * share) * disks.PAGE
    logs = {"log": sandbox.log, "acks": str(sandbox.acks)}
    try:
        with disks.small_disk(sandbox.runs, n_bytes):
            code = driver.run(sandbox.command(), **logs)
            assert disks.message_problems(code, sandbox.log.read_text()) == []
            disks.grow(sandbox.runs, 64 * 2**20)
            before = sandbox.rows()
            if code:
                code = driver.run(sandbox.command(), **logs)
            assert code == 0, sandbox.log.read_text()
            assert disks.differences(cases, sandbox, uninterrupted, before) == []
    except disks.CannotMountError as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")


def test_a_file_size_limit_is_one_error_line_and_the_sweep_resumes_without_it(
    driver: Any,
    cases: ModuleType,
    disks: ModuleType,
    uninterrupted: Any,
    sandbox: Any,
    max_file_bytes: int,
) -> None:
    logs = {"log": sandbox.log, "acks": str(sandbox.acks)}
    code = driver.run(sandbox.command(), **logs, max_file_bytes=max_file_bytes)
    assert disks.message_problems(code, sandbox.log.read_text()) == []
    before = sandbox.rows()
    if code:
        code = driver.run(sandbox.command(), **logs)
    assert code == 0, sandbox.log.read_text()
    assert disks.differences(cases, sandbox, uninterrupted, before) == []
