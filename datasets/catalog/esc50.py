"""ESC-50: 2,000 recordings of 5 s of environmental sounds in 50 classes.

The track table has the official folds, and the source recording as group. Files:

    audio/{FOLD}-{CLIP}-{TAKE}-{TARGET}.wav   44,100 Hz, mono
    meta/esc50.csv                            filename,fold,target,category,esc10,src_file,take

Pitfalls: several clips are cut from one recording on Freesound (`src_file`), all of them in one
fold; some recordings were band-limited by their authors, which can reveal a class by itself.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.base import DatasetInfo, Download, existing_folder, track_table
from chorale.datasets.config import config
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.tables.csv_table import find_table, read_columns
from chorale.datasets.tables.listed_files import are_present

if TYPE_CHECKING:
    import pandas as pd

# fmt: off
CATEGORIES = (
    "dog", "rooster", "pig", "cow", "frog", "cat", "hen", "insects", "sheep", "crow",
    "rain", "sea_waves", "crackling_fire", "crickets", "chirping_birds", "water_drops", "wind",
    "pouring_water", "toilet_flush", "thunderstorm", "crying_baby", "sneezing", "clapping",
    "breathing", "coughing", "footsteps", "laughing", "brushing_teeth", "snoring",
    "drinking_sipping", "door_wood_knock", "mouse_click", "keyboard_typing", "door_wood_creaks",
    "can_opening", "washing_machine", "vacuum_cleaner", "clock_alarm", "clock_tick",
    "glass_breaking", "helicopter", "chainsaw", "siren", "car_horn", "engine", "train",
    "church_bells", "airplane", "fireworks", "hand_saw",
)
# fmt: on
"""In the order of `target`, 0 to 49."""

INFO = DatasetInfo(
    name="esc50",
    title="ESC-50: environmental sounds of 5 s in 50 classes, with five official folds",
    licence="CC BY-NC 3.0; the ESC-10 subset CC BY 3.0",
    citation=(
        "K. J. Piczak: ESC: Dataset for Environmental Sound Classification, ACM Multimedia, 2015, "
        "doi:10.1145/2733373.2806390"
    ),
    homepage="https://github.com/karolpiczak/ESC-50",
    labels=tuple(sorted(CATEGORIES)),
    n_tracks=2000,
    size="600 MB, zipped",
    # the address in its README: the newest version, so there can be no checksum
    downloads=(
        Download(
            "https://github.com/karoldvl/ESC-50/archive/master.zip",
            "ESC-50-master.zip",
            unpack_to="ESC-50-master",
            inside="ESC-50-master",
        ),
    ),
)

_SUBFOLDERS = ("", "ESC-50-master", "ESC-50")
"""Possible parents of `audio` and `meta` below `root`: itself, the unpacked zip, a clone."""
_COLUMNS = ("filename", "fold", "category", "esc10", "src_file")


@config
class Config:
    """Where the recordings are, and whether to use all 50 classes."""

    root: str
    """folder that contains audio and meta, or its parent"""
    esc10: bool = False
    """only the 400 recordings of the ten classes of ESC-10"""


def tracks(config: Config) -> "pd.DataFrame":
    """One row per recording: its class, its official fold (0 to 4), its source as group.

    Missing files are left out and counted.

    Raises:
        UserError: the recordings or their table are missing, or the table is damaged.
    """
    existing_folder(config.root, dataset=INFO.name)
    places = [f"{name}/meta/esc50.csv".lstrip("/") for name in _SUBFOLDERS]
    meta = find_table(config.root, places, dataset=INFO.name)
    table = read_columns(meta, dataset=INFO.name, text=_COLUMNS)
    _check_rows(meta, table)
    if config.esc10:
        table = table.loc[table["esc10"].str.lower() == "true"]
    audio = meta.parent.parent / "audio"
    existing = {path.name for path in audio.glob("*")}
    present = are_present(
        table["filename"].tolist(),
        existing,
        audio=audio,
        dataset=INFO.name,
        expected="audio and meta",
    )
    return track_table(
        {
            "track_id": Path(name).stem,
            "path": str(audio / name),
            "label": category,
            "group": f"source-{source}",
            "fold": int(fold) - 1,
        }
        for name, fold, category, _, source in table.loc[present].itertuples(index=False)
    )


def _check_rows(meta: Path, table: "pd.DataFrame") -> None:
    """Each row needs a fold from 1 to 5, a class, a source, and whether it is in ESC-10."""
    odd = ~table["fold"].isin(list("12345")) | (table["category"] == "") | (table["src_file"] == "")
    odd |= ~table["esc10"].str.lower().isin(["true", "false"])
    if odd.any():
        raise UserError(
            f"dataset 'esc50': '{meta}' has {int(odd.sum())} rows with a fold that is not 1 to 5, "
            f"an esc10 that is not True or False, or no category or src_file: "
            f"{join_first(repr(name) for name in table.loc[odd, 'filename'])}; get a complete copy"
        )
