"""Disks with little room, and what a sweep that met one must have said. No test."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PAGE = 4096
"""Room on a small disk is given away in pages of so many bytes."""

BESIDE = ("config.yaml", "metrics.csv", "events.out.tfevents", "/state/")
"""Parts of the names of what nothing depends on: where one of them finds no room, once, the sweep
goes on without."""


class CannotMountError(Exception):
    """Mounting is for root, and not for every root."""


@contextmanager
def small_disk(folder: Path, n_bytes: int) -> Iterator[None]:
    """Mounts a disk of so many bytes at `folder`, which it makes; it is gone after the block.

    Raises:
        CannotMountError: here it cannot be done.
    """
    folder.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CannotMountError(str(error)) from error
    if done.returncode:
        raise CannotMountError(done.stderr.strip())
    try:
        yield
    finally:
        # lazily: what reads it may let go of it a moment later
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def grow(folder: Path, n_bytes: int) -> None:
    """Makes room on a small disk."""
    words = ["mount", "-o", f"remount,size={n_bytes}", str(folder)]
    subprocess.run(words, check=True, capture_output=True)


def pages(folder: Path) -> int:
    """How many pages the files below `folder` take."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(-(-path.stat().st_size // PAGE) for path in files)


def ill_told(code: int, said: str) -> list[str]:
    """What is wrong with how a sweep ended that met a full disk; nothing if it went on."""
    told = [line for line in said.splitlines() if line.startswith("chorale ")]
    found = [f"traceback: {said}"] if "Traceback" in said or "Exception" in said else []
    if code == 0:
        return found + [f"it went on, and said {line}" for line in told]
    if code != 1:
        found.append(f"exit code {code}")
    if len(told) != 1:
        found.append(f"{len(told)} lines: {told or said}")
    return found + [f"no advice: {line}" for line in told if "make room" not in line]


def unlike(cases: Any, place: Any, whole: Any, before: Any) -> list[str]:
    """All that is wrong with a sweep that met a full disk and then went on to its end."""
    found: list[str] = [*cases.lost(before, place), *cases.run_twice(place)]
    found += cases.problems(place)
    same = cases.results(whole)
    found += [f"{k} differs" for k, one in cases.results(place).items() if one != same.get(k)]
    if cases.digests(place) != cases.digests(whole):
        found.append("other weights or predictions")
    return found
