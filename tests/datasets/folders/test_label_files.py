"""Recordings whose labels are in files of Audacity or BirdNET beside them."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chorale.datasets.catalog import folder
from chorale.datasets.errors import UserError
from chorale.datasets.folders.label_files import LabelFileKind

RAVEN = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"
    "Common Name\tSpecies Code\tConfidence\tBegin Path\tFile Offset (s)\n"
)
CSV = "Start (s),End (s),Scientific name,Common name,Confidence,File\n"


def raven(*detections: tuple[str, float]) -> str:
    rows = [
        f"{n}\tSpectrogram 1\t1\t0\t3\t0\t15000\t{name}\tcode\t{confidence}\t/x/a.wav\t0\n"
        for n, (name, confidence) in enumerate(detections, 1)
    ]
    return RAVEN + "".join(rows)


def tree(root: Path, **files: str) -> Path:
    """a.wav, b.wav and sub/c.flac, and text files: `a__txt` is a.txt, `sub___c__txt` sub/c.txt."""
    named = {name.replace("___", "/").replace("__", "."): text for name, text in files.items()}
    for name, text in {"a.wav": "RIFF", "b.wav": "RIFF", "sub/c.flac": "fLaC", **named}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def read(root: Path, kind: LabelFileKind = "audacity", **options: Any) -> pd.DataFrame:
    return folder.tracks(folder.Config(str(root), labels_from=kind, **options))


def labels(root: Path, kind: LabelFileKind = "audacity", **options: Any) -> dict[str, str]:
    table = read(root, kind, **options)
    return dict(zip(table["track_id"], table["label"], strict=True))


def unread(root: Path, kind: LabelFileKind) -> dict[str, tuple[str, str]]:
    table = folder.not_read(folder.Config(str(root), labels_from=kind))
    return {
        str(Path(row["path"]).relative_to(root)): (row["problem"], row["outcome"])
        for _, row in table.iterrows()
    }


def refusal(root: Path, kind: LabelFileKind = "audacity", **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(root, kind, **options)
    return str(caught.value)


def test_a_recording_has_the_labels_of_its_audacity_label_track(tmp_path: Path) -> None:
    tree(
        tmp_path,
        a__txt="0.5\t1.5\twren\n2.0\t2.0\trobin\r\n\\\t100.0\t-1.000000\n3\t4\twren\n\n",
        b__txt="\ufeff1.0\t2.0\trobin",
        sub___c__txt="1.0\t2.0\tcall of a wren\twith a tab\n",
    )
    table = read(tmp_path)
    assert dict(zip(table["track_id"], table["label"], strict=True)) == {
        "a.wav": "robin;wren",
        "b.wav": "robin",
        "sub/c.flac": "call of a wren",
    }
    assert table["group"].tolist() == table["track_id"].tolist()
    assert table["split"].isna().all()


def test_recordings_and_label_files_without_counterpart_are_accounted_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree(
        tmp_path,
        a__txt="0\t1\twren\n",
        b__txt="0\t1\t\n",
        gone__txt="0\t1\twren\n",
        README__txt="Recordings of 2024\n",
        notes__pdf="",
    )
    (tmp_path / "d.ogg").write_bytes(b"OggS")
    (tmp_path / "d.txt").write_text("0\t1\trobin\n")
    assert labels(tmp_path) == {"a.wav": "wren", "d.ogg": "robin"}
    assert unread(tmp_path, "audacity") == {
        "a.txt": ("label file", "ignored"),
        "d.txt": ("label file", "ignored"),
        "b.wav": ("wav without a label", "not read"),
        "b.txt": ("label file", "ignored"),
        "sub/c.flac": ("flac without a label file", "not read"),
        "gone.txt": ("label file without a recording", "not read"),
        "README.txt": ("txt (no audio)", "ignored"),
        "notes.pdf": ("pdf (no audio)", "ignored"),
    }
    assert "the labels of 2 recordings are read from 3 files of audacity" in caplog.text
    assert "2 of 4 recordings have no label file, or no label in it" in caplog.text
    assert "1 marks without text in label files are no labels" in caplog.text


def test_a_semicolon_in_a_label_becomes_a_comma_with_one_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree(tmp_path, a__txt="0\t1\twren;song\n", b__txt="0\t1\twren;song\n1\t2\tcall\n")
    assert labels(tmp_path) == {"a.wav": "wren,song", "b.wav": "call;wren,song"}
    assert caplog.text.count("is replaced by a comma: 'wren;song'") == 1


@pytest.mark.parametrize("line", ["no label track", "0.5", "0.5\tend\twren", "0,5\t1,5\twren"])
def test_a_text_beside_a_recording_that_is_no_label_track_is_refused(
    tmp_path: Path, line: str
) -> None:
    text = refusal(tree(tmp_path, a__txt=f"0\t1\twren\n{line}\n", b__txt="0\t1\trobin\n"))
    assert "1 files in" in text
    assert f"'a.txt': line 2: expected seconds, TAB, seconds, TAB, label, but got '{line}'" in text


def test_a_folder_without_any_label_file_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    assert "none of the 3 recordings" in refusal(tree(tmp_path))
    assert "expected NAME.txt in the same folder as NAME.wav" in refusal(tmp_path)
    assert "NAME.BirdNET.selection.table.txt" in refusal(tmp_path, "birdnet")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.BirdNET.selection.table.txt", raven(("Wren", 0.9), ("Robin", 0.5), ("Rook", 0.49))),
        (
            "a.BirdNET.results.csv",
            CSV + "0,3,Troglodytes troglodytes,Wren,0.9,a.wav\n3,6,E. rubecula,Robin,0.5,a.wav\n"
            "6,9,Corvus frugilegus,Rook,0.49,a.wav\n",
        ),
        (
            "a.birdnet.results.txt",
            "0.0\t3.0\tTroglodytes troglodytes, Wren\t0.9\n3.0\t6.0\tE. rubecula_Robin\t0.5\n"
            "6.0\t9.0\tCorvus frugilegus, Rook\t0.4900\n",
        ),
        (
            "a.BirdNET.results.r.csv",
            "filepath,start,end,scientific_name,common_name,confidence\n"
            "a,0,3,T. troglodytes,Wren,0.9\na,3,6,E. rubecula,Robin,0.5\na,6,9,C. f.,Rook,0.4\n",
        ),
    ],
)
def test_a_recording_has_the_species_that_birdnet_is_confident_of(
    tmp_path: Path, name: str, text: str
) -> None:
    tree(tmp_path, b__BirdNET__selection__table__txt=raven(("Robin", 0.8)))
    (tmp_path / name).write_text(text)
    assert labels(tmp_path, "birdnet") == {"a.wav": "Robin;Wren", "b.wav": "Robin"}
    assert labels(tmp_path, "birdnet", min_confidence=0.4)["a.wav"] == "Robin;Rook;Wren"


def test_several_tables_of_one_recording_are_read_together(tmp_path: Path) -> None:
    tree(
        tmp_path,
        a__BirdNET__selection__table__txt=raven(("Wren", 0.9)),
        a__BirdNET__results__csv=CSV + '0,3,Pica pica,"Magpie, Eurasian",0.9,a.wav\n',
        b__BirdNET__results__csv=CSV + "0,3,Engine,,0.9,b.wav\n",
    )
    assert labels(tmp_path, "birdnet") == {"a.wav": "Magpie, Eurasian;Wren", "b.wav": "Engine"}


def test_recordings_without_a_detection_are_named(tmp_path: Path) -> None:
    tree(
        tmp_path,
        a__BirdNET__selection__table__txt=raven(("Wren", 0.9), ("Robin", 0.9)),
        b__BirdNET__selection__table__txt=raven(("nocall", 1.0)),
        gone__BirdNET__results__csv=CSV,
        BirdNET_SelectionTable__txt=raven(("Wren", 0.9)),
        BirdNET_analysis_params__csv="File splitting duration\n600\n",
    )
    (tmp_path / "d.wav").write_bytes(b"RIFF")
    (tmp_path / "d.BirdNET.results.txt").write_text("")
    (tmp_path / "sub" / "c.BirdNET.results.txt").write_text("0\t3\tT. t., Wren\t0.7\n")
    assert labels(tmp_path, "birdnet") == {"a.wav": "Robin;Wren", "sub/c.flac": "Wren"}
    found = unread(tmp_path, "birdnet")
    assert found["b.wav"] == found["d.wav"] == ("wav without a label", "not read")
    assert found["gone.BirdNET.results.csv"] == ("label file without a recording", "not read")
    assert found["BirdNET_SelectionTable.txt"] == ("table of several recordings", "not read")
    assert found["BirdNET_analysis_params.csv"] == ("csv (no audio)", "ignored")
    assert found["d.BirdNET.results.txt"] == ("label file", "ignored")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("species,score\nWren,0.9\n", "expected columns 'Common name' and 'Confidence', or"),
        (CSV + "0,3,T. t.,Wren,high,a.wav\n", "a confidence must be a number, but got 'high'"),
        (CSV + "0,3,T. t.,Wren\n", "a confidence must be a number, but got ''"),
        ("0.0\t3.0\tT. t., Wren\n", "a confidence must be a number, but got ''"),
    ],
)
def test_a_file_that_is_no_table_of_birdnet_is_refused(
    tmp_path: Path, text: str, expected: str
) -> None:
    message = refusal(tree(tmp_path, a__BirdNET__results__csv=text), "birdnet")
    assert "'a.BirdNET.results.csv': " in message
    assert expected in message


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"0\t1\tZaunk\xf6nig\n")
    assert "'a.txt': it cannot be read as text in UTF-8" in refusal(tmp_path)


def test_one_label_in_all_is_refused(tmp_path: Path) -> None:
    text = refusal(tree(tmp_path, a__txt="0\t1\twren\n", b__txt="0\t1\twren\n"))
    assert "all 2 tracks have the one label 'wren'" in text
    assert "LABEL/.../FILE" not in text


def test_the_folder_of_a_recording_can_be_its_group(tmp_path: Path) -> None:
    names = {f"s{i}___{n}__txt": f"0\t1\t{n}\n" for i in (1, 2) for n in "ab"}
    tree(tmp_path, **names)
    for i, name in ((1, "a"), (1, "b"), (2, "a"), (2, "b")):
        (tmp_path / f"s{i}" / f"{name}.wav").write_bytes(b"RIFF")
    assert read(tmp_path, group="parent_folder")["group"].tolist() == ["s1", "s1", "s2", "s2"]


def test_keys_that_contradict_label_files_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, a__txt="0\t1\twren\n")
    assert "are about a manifest, and the label files of audacity" in refusal(
        tmp_path, multi_label=True
    )
    with pytest.raises(ValueError, match="labels_from=audacity takes labels from files"):
        folder.Config(str(tmp_path), labels_from="audacity", manifest="m.csv")
    with pytest.raises(ValueError, match="labels_from=audacity takes labels from files"):
        folder.Config(str(tmp_path), labels_from="audacity", layout="split")
