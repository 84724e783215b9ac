"""Garbage collection of the feature cache: which feature stores are still needed.

A sweep records here which stores it uses; `chorale data prune` and the retention of nights remove
the others. A removed store costs the time to extract its features again.
"""

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chorale.datasets.atomic import write_json
from chorale.search.ledger.reader import LedgerReader
from chorale.search.paths import Runs, StudyPaths

RECENT_S = 3600.0
"""A store that was used so recently may belong to a sweep that no ledger knows yet, in seconds."""


LATEST = "the latest of its kind"
"""Why a store is needed that the next sweep will reuse; a size limit may still remove it."""


@dataclass(frozen=True)
class CachedStore:
    """A feature store in the cache: its folder, recipe, time of last use (Unix) and size.

    `needed` names what needs it; it is empty where nothing does.
    """

    folder: Path
    recipe: str
    used_s: float
    n_bytes: int
    needed: str


def record_use(paths: StudyPaths, stores: Mapping[str, Path]) -> None:
    """Records in a study's folder which stores it uses; they count as used now."""
    for folder in stores.values():
        os.utime(folder / "manifest.json")
    write_json(paths.stores_json, sorted(folder.name for folder in stores.values()))


def cached_stores(
    runs: Runs, ledger: LedgerReader | None, *, now_s: float | None = None
) -> list[CachedStore]:
    """All feature stores of the cache, by name.

    Needed are those of studies that are not complete, the latest of each recipe (the next sweep
    reuses its features), and those that were used in the last hour. Where an interrupted study of
    an older version has no record of its stores, all stores without a record are needed.

    Args:
        runs: the folder of all studies.
        ledger: the studies' states; None where there is no ledger yet.
        now_s: the time, in Unix seconds; None for now.
    """
    now_s = time.time() if now_s is None else now_s
    user_of, silent = _users(runs, ledger)
    named = {name for study in runs.studies() for name in _noted(study) or ()}
    found = []
    for manifest in sorted(runs.cache.glob("*/manifest.json")):
        try:
            made = json.loads(manifest.read_text(encoding="utf-8"))
            recipe = f"{made['feature']}-{made['recipe_key']}"
        except (OSError, ValueError, KeyError, TypeError):
            recipe = manifest.parent.name  # a damaged one is no recipe's latest
        folder, used_s = manifest.parent, manifest.stat().st_mtime
        needed = user_of.get(folder.name, "")
        if not needed and silent and folder.name not in named:
            needed = f"perhaps by {silent}"
        if not needed and now_s - used_s < RECENT_S:
            needed = "used in the last hour"
        n_bytes = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        found.append(CachedStore(folder, recipe, used_s, n_bytes, needed))
    latest = {one.recipe: one for one in sorted(found, key=lambda one: one.used_s)}
    return [
        one
        if one.needed or latest[one.recipe] is not one
        else CachedStore(one.folder, one.recipe, one.used_s, one.n_bytes, LATEST)
        for one in found
    ]


def removable_stores(
    stores: Sequence[CachedStore], *, max_bytes: float | None = None
) -> list[CachedStore]:
    """The stores that nothing needs, and more of them until the others take `max_bytes` at most.

    For the limit, the latest store of a kind is removed if no running or interrupted study needs
    it, the one that was used longest ago first. The others may still take more.
    """
    gone = [one for one in stores if not one.needed]
    if max_bytes is None:
        return gone
    left = sum(one.n_bytes for one in stores if one.needed)
    for one in sorted(stores, key=lambda one: one.used_s):
        if left <= max_bytes:
            break
        if one.needed == LATEST:
            gone.append(one)
            left -= one.n_bytes
    return gone


def prune(
    runs: Runs, ledger: LedgerReader | None, *, max_bytes: float | None = None
) -> list[CachedStore]:
    """Removes the `removable_stores` of the cache; returns them."""
    gone = removable_stores(cached_stores(runs, ledger), max_bytes=max_bytes)
    for one in gone:
        removed = one.folder.with_name(f".{one.folder.name}.going")
        one.folder.rename(removed)  # atomically, so that no reader sees a partial store
        shutil.rmtree(removed)
    return gone


def _users(runs: Runs, ledger: LedgerReader | None) -> tuple[dict[str, str], str]:
    """Store -> an incomplete study that uses it; and an incomplete one without a record."""
    user_of, silent = {}, ""
    for info in [] if ledger is None else ledger.all_studies():
        paths = runs.study(info.name)
        if info.state == "complete" or not paths.root.is_dir():
            continue
        noted = _noted(paths)
        if noted is None:
            silent = f"the {info.state} study '{info.name}'"
        for name in noted or ():
            user_of[name] = f"the {info.state} study '{info.name}'"
    return user_of, silent


def _noted(paths: StudyPaths) -> list[str] | None:
    try:
        return list(map(str, json.loads(paths.stores_json.read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError):
        return None
