"""Small disks (tmpfs), and checks of a sweep that met a full disk. No tests in here."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PAGE = 4096
"""A small disk allocates pages of so many bytes."""

OPTIONAL_FILES = ("config.yaml", "metrics.csv", "events.out.tfevents", "/state/")
"""Parts of the names of files that nothing depends on: where such a write fails once, the sweep
continues without the file."""


ADVICE = "free some space"
"""What an error message on a full disk must recommend."""


class CannotMountError(Exception):
    """Mounting needs root, and is not allowed to root in every container."""


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[None]:
    """Creates `folder` and mounts a disk of so many bytes there while the block runs.

    Raises:
        CannotMountError: this process may not mount.
    """
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CannotMountError(str(error)) from error
    if done.returncode:
        raise CannotMountError(done.stderr.strip())
    try:
        yield
    finally:
        # lazily: a reader may close its files a moment later
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def grow(folder: Path, n_bytes: int) -> None:
    """Enlarges a small disk."""
    command = ["mount", "-o", f"remount,size={n_bytes}", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def count_pages(folder: Path) -> int:
    """The number of pages that the files below `folder` take."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(-(-path.stat().st_size // PAGE) for path in files)


def message_problems(code: int, log: str) -> list[str]:
    """What is wrong with the exit code and the error message of a sweep that met a full disk."""
    errors = [line for line in log.splitlines() if line.startswith("chorale ")]
    found = [f"traceback: {log}"] if "Traceback" in log or "Exception" in log else []
    if code == 0:
        return found + [f"it continued, but printed {line}" for line in errors]
    if code != 1:
        found.append(f"exit code {code}")
    if len(errors) != 1:
        found.append(f"{len(errors)} lines: {errors or log}")
    return found + [f"no advice: {line}" for line in errors if not has_advice(line)]


def has_advice(line: str) -> bool:
    """Whether an error message says to free disk space."""
    return ADVICE in line


def differences(cases: Any, sandbox: Any, uninterrupted: Any, before: Any) -> list[str]:
    """All that is wrong with a resumed sweep, compared with one that was never interrupted."""
    found: list[str] = [*cases.lost_rows(before, sandbox), *cases.duplicate_runs(sandbox)]
    found += cases.problems(sandbox)
    expected = cases.reproducible_results(uninterrupted)
    results = cases.reproducible_results(sandbox)
    found += [f"{k} differs" for k, one in results.items() if one != expected.get(k)]
    if cases.digests(sandbox) != cases.digests(uninterrupted):
        found.append("weights or predictions differ")
    return found
