"""The champion's health on the evening of a night, by the statistics that its servers kept."""

from pathlib import Path
from typing import Any

from chorale.datasets.errors import UserError
from chorale.search.bundle.bundle import Bundle
from chorale.search.champion.health.health import read_health


def served_health(folder: Path, champion: Bundle | None) -> dict[str, Any] | None:
    """The `sentence` of the champion's health, and whether there is an `alarm`.

    None without a champion, and where no server keeps statistics in `folder`. An unreadable file is
    the sentence: it stops no night.
    """
    if champion is None or not folder.is_dir():
        return None
    try:
        health, _, _ = read_health(folder, champion)
    except UserError as error:
        return {"sentence": str(error), "alarm": False}
    return {"sentence": health.sentence(), "alarm": health.has_alarm}
