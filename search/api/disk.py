"""What takes how much space in the folder of all studies."""

from dataclasses import dataclass

from chorale.search.data import feature_stores
from chorale.search.ledger.reader import LedgerReader
from chorale.search.paths import Runs, folder_bytes


@dataclass(frozen=True)
class SpaceUse:
    """A part of the folder: its name, size, and the command that removes it, empty for none."""

    what: str
    n_bytes: int
    remove: str = ""


def space_used(runs: Runs, ledger: LedgerReader) -> list[SpaceUse]:
    """The parts of the folder of all studies; those that are empty are left out."""
    names = ledger.studies()
    parts = [
        SpaceUse(f"study {name}", folder_bytes(runs.study(name).root), f"study delete {name}")
        for name in names
    ]
    every = feature_stores.cached_stores(runs, ledger)
    removable = sum(one.n_bytes for one in feature_stores.removable_stores(every))
    needed = folder_bytes(runs.cache) - removable
    parts += [
        SpaceUse("cached features that no study needs", removable, "data prune"),
        SpaceUse("cached features and audits", needed, "data prune --max-gb 0"),
        SpaceUse("ledger", sum(p.stat().st_size for p in runs.root.glob("chorale.db*"))),
    ]
    known = {*names, runs.cache.name}
    for place in sorted(runs.root.iterdir()) if runs.root.is_dir() else []:
        if place.is_dir() and place.name not in known:
            parts.append(SpaceUse(f"{place.name}/", folder_bytes(place)))
    return [one for one in parts if one.n_bytes]
