"""The files below a folder that are no track: each with what it is and what to do about it.

`chorale data check` lists them, and its last line accounts for every file.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.base import IGNORED, NO_TRACK, NOT_READ, NOT_READ_COLUMNS
from chorale.datasets.folders.layout import FolderLayout
from chorale.datasets.folders.listing import APPLE_DOUBLE, Listing, count_text, ending_of

if TYPE_CHECKING:
    import pandas as pd

# fmt: off
AUDIO_ENDINGS = frozenset({
    "3gp", "aac", "ac3", "aif", "aifc", "aiff", "alac", "amr", "ape", "au", "caf", "dsf", "flac",
    "m4a", "m4b", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpc", "oga", "ogg", "opus", "ra",
    "snd", "sph", "tta", "voc", "w64", "wav", "wave", "webm", "wma", "wv",
})
"""Endings of files that have sound, whether or not this program decodes them."""

OTHER_ENDINGS = frozenset({
    "bib", "bmp", "cfg", "csv", "db", "doc", "docx", "gif", "htm", "html", "ini", "ipynb", "jpeg",
    "jpg", "json", "jsonl", "lab", "log", "m3u", "m3u8", "md", "ods", "odt", "pdf", "png", "py",
    "rst", "rtf", "rttm", "sh", "srt", "svg", "textgrid", "tif", "tiff", "toml", "tsv", "txt",
    "vtt", "xls", "xlsx", "xml", "yaml", "yml",
})
"""Endings of text, tables, pictures and annotations, which are expected beside recordings."""
# fmt: on

_Row = tuple[str, str, str, str]


def unread_in_folders(
    listing: Listing,
    layout: FolderLayout,
    *,
    used: Collection[str],
    extensions: Sequence[str],
) -> "pd.DataFrame":
    """The files of a dataset in labels' folders that are no track (see `NOT_READ_COLUMNS`).

    Args:
        listing: the files below its root.
        layout: how its folders are laid out.
        used: the files that are tracks.
        extensions: endings of the files that are read, in lower case without dot.
    """
    rows = _always_ignored(listing)
    unread = sorted(set(listing.files) - set(used))
    audio = sorted({ending_of(name) for name in unread} & AUDIO_ENDINGS - set(extensions))
    for name in unread:
        ending = ending_of(name)
        if name.lower().endswith(tuple("." + one for one in extensions)):
            why = layout.misplaced(name)
            rows.append((name, f"{ending} {why}", NOT_READ, _MISPLACED))
        else:
            rows.append(_by_ending(name, ending, [*extensions, *audio]))
    depth = 1 if layout.name == "labels" else 2
    with_track = {"/".join(name.split("/")[:depth]) for name in used}
    for folder in layout.label_folders(listing.folders):
        if folder not in with_track:
            inside = [ending_of(name) for name in unread if name.startswith(folder + "/")]
            detail = f"it has {count_text(inside)}" if inside else "it is empty"
            rows.append((folder, "label without a track", NO_TRACK, detail))
    return _table(listing.root, rows)


def unread_beside_manifest(
    listing: Listing, manifest: Path, *, used: Collection[str], extensions: Sequence[str]
) -> "pd.DataFrame":
    """The files below the root that a manifest does not name (see `NOT_READ_COLUMNS`).

    Args:
        listing: the files below the root.
        manifest: the manifest, which is one of them or not.
        used: the files that are tracks.
        extensions: endings of audio files, in addition to `AUDIO_ENDINGS`.
    """
    rows = _always_ignored(listing)
    own = manifest.resolve()
    for name in sorted(set(listing.files) - set(used)):
        ending = ending_of(name)
        if ending in AUDIO_ENDINGS or ending in extensions:
            detail = f"'{manifest}' has no row for it: add one, or remove the file"
            rows.append((name, f"{ending} not in the manifest", NOT_READ, detail))
        elif (listing.root / name).resolve() == own:
            rows.append((name, "manifest", IGNORED, "its rows are the tracks"))
        else:
            what = f"{ending} (no audio)" if ending else "without an ending"
            rows.append((name, what, IGNORED, "the manifest does not name it"))
    return _table(listing.root, rows)


def unread_beside_label_files(
    listing: Listing,
    others: Mapping[str, tuple[str, str, str]],
    *,
    used: Collection[str],
    extensions: Sequence[str],
) -> "pd.DataFrame":
    """The files of recordings with label files that are no track (see `NOT_READ_COLUMNS`).

    Args:
        listing: the files below the root.
        others: problem, outcome and detail of recordings and label files.
        used: the files that are tracks.
        extensions: endings of the files that are read, in lower case without dot.
    """
    rows = _always_ignored(listing)
    for name in sorted(set(listing.files) - set(used)):
        known = others.get(name)
        rows.append((name, *known) if known else _by_ending(name, ending_of(name), extensions))
    return _table(listing.root, rows)


_MISPLACED = "put it into its label's folder, or name it in a manifest (--dataset.manifest FILE)"


def _always_ignored(listing: Listing) -> list[_Row]:
    rows: list[_Row] = [
        (name, "broken link", NOT_READ, "it leads to no file: restore the file, or remove it")
        for name in listing.broken
    ]
    for name in listing.all_hidden():
        if name.rsplit("/", 1)[-1].startswith(APPLE_DOUBLE):
            rows.append((name, "AppleDouble", IGNORED, "attributes that macOS wrote, no audio"))
        else:
            rows.append((name, "hidden", IGNORED, "its name or folder begins with a dot"))
    return rows


def _by_ending(name: str, ending: str, readable: Sequence[str]) -> _Row:
    """`readable`: the endings that are read, and those of audio that could be."""
    if ending in OTHER_ENDINGS:
        return (name, f"{ending} (no audio)", IGNORED, "text, a table or a picture")
    if not ending:
        detail = "its name has no ending: add that of its format"
        return (name, "without an ending not read", NOT_READ, detail)
    every = ", ".join(dict.fromkeys([*readable, ending]))
    advice = f"try --dataset.extensions '[{every}]', or convert it to flac or wav"
    advice = advice if ending in AUDIO_ENDINGS else f"if it is audio, {advice}"
    return (name, f"{ending} not read", NOT_READ, advice)


def _table(root: Path, rows: Iterable[_Row]) -> "pd.DataFrame":
    import pandas as pd

    placed = [(str(root / name), *rest) for name, *rest in rows]
    return pd.DataFrame(placed, columns=list(NOT_READ_COLUMNS), dtype="str")
