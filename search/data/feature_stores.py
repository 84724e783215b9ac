"""Which feature stores in the cache are still needed, and the removal of all others.

Whoever prepares a sweep notes here what it uses; `chorale data prune` and the retention of nights
remove the rest. A store that is gone costs the time to make it again, and nothing else.
"""

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chorale.datasets.atomic import write_json
from chorale.search.ledger.reader import LedgerReader
from chorale.search.paths import Runs, StudyPaths

RECENT_S = 3600.0
"""A store that somebody took up so lately may belong to a sweep that no ledger knows yet."""


@dataclass(frozen=True)
class Store:
    """A feature store in the cache: its folder, what made it, when it was last taken up, its size.

    `needed` says who needs it, and is empty where nobody does.
    """

    folder: Path
    recipe: str
    used_s: float
    n_bytes: int
    needed: str


def note(paths: StudyPaths, stores: Mapping[str, Path]) -> None:
    """Keeps with a study which stores it uses; they count as taken up now."""
    for folder in stores.values():
        os.utime(folder / "manifest.json")
    write_json(paths.stores_json, sorted(folder.name for folder in stores.values()))


def survey(runs: Runs, ledger: LedgerReader | None, *, now_s: float | None = None) -> list[Store]:
    """All feature stores of the cache, by name.

    Needed are those of studies that are not complete; the latest of each recipe, out of which the
    next sweep takes what it knows already; and those that were taken up in the last hour. Where an
    interrupted study of an older version does not say what it uses, all that nobody names are.

    Args:
        runs: the folder of all studies.
        ledger: knows their states; None where there is none yet.
        now_s: the time, in seconds since the epoch; none for now.
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
            recipe = manifest.parent.name  # a damaged one is nobody's latest
        folder, used_s = manifest.parent, manifest.stat().st_mtime
        needed = user_of.get(folder.name, "")
        if not needed and silent and folder.name not in named:
            needed = f"perhaps by {silent}"
        if not needed and now_s - used_s < RECENT_S:
            needed = "taken up in the last hour"
        n_bytes = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        found.append(Store(folder, recipe, used_s, n_bytes, needed))
    latest = {one.recipe: one for one in sorted(found, key=lambda one: one.used_s)}
    return [
        one
        if one.needed or latest[one.recipe] is not one
        else Store(one.folder, one.recipe, one.used_s, one.n_bytes, "the latest of its kind")
        for one in found
    ]


def prune(runs: Runs, ledger: LedgerReader | None) -> list[Store]:
    """Removes the feature stores that nobody needs; gives them."""
    gone = [one for one in survey(runs, ledger) if not one.needed]
    for one in gone:
        going = one.folder.with_name(f".{one.folder.name}.going")  # at once, for whoever looks
        one.folder.rename(going)
        shutil.rmtree(going)
    return gone


def _users(runs: Runs, ledger: LedgerReader | None) -> tuple[dict[str, str], str]:
    """Store -> a study that is not complete and uses it; and one of those that do not say."""
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
