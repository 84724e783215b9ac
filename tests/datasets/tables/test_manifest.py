"""Manifests as people have them: understood, or refused with the lines and what to type."""

import codecs
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chorale.datasets.catalog import folder
from chorale.datasets.config import read_config
from chorale.datasets.errors import UserError
from chorale.datasets.tables.fold_and_time import read_time


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """audio/000.wav to audio/009.wav."""
    (tmp_path / "audio").mkdir()
    for i in range(10):
        (tmp_path / "audio" / f"{i:03}.wav").write_bytes(b"RIFF")
    return tmp_path


def write(root: Path, header: str, row: str, *, more: str = "", newline: str = "\n") -> None:
    """A manifest with `row` for each of the ten files: {n} is its number, {l} its label."""
    lines = [row.format(n=f"{i:03}", i=i, l=("dog", "cat")[i % 2]) for i in range(10)]
    text = newline.join([header, *lines, more] if more else [header, *lines, ""])
    (root / "m.csv").write_bytes(text.encode())


def read(root: Path, **options: Any) -> pd.DataFrame:
    values = {"root": str(root), "manifest": "m.csv", **options}
    return folder.tracks(read_config(folder.Config, values, where="here"))


def refusal(root: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(root, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("header", "row", "logged"),
    [
        ("path,label", "audio/{n}.wav,{l}", ""),
        ("path;label", "audio/{n}.wav;{l}", "separated by ';'"),
        ("path\tlabel", "audio/{n}.wav\t{l}", "separated by '\\t'"),
        ("sep=;\npath;label", "audio/{n}.wav;{l}", "separated by ';'"),
        ("path,label", "audio\\{n}.wav,{l}", "10 of 10 paths have backslashes"),
        ("path,label", "D:\\data\\audio\\{n}.wav,{l}", "found by their end below --dataset.root"),
        ("path,label", "\\\\server\\share\\audio\\{n}.wav,{l}", "found by their end below"),
        ("path,label", "/home/someone/audio/{n}.wav,{l}", "found by their end below"),
        ("file_name,label", "{n}.wav,{l}", "found by their file name below"),
        ("Filename,Category", "{n}.wav,{l}", "path is 'Filename', label is 'Category'"),
        ("slice_file_name,classID,class", "{n}.wav,{i},{l}", "not used: classID"),
        ("id,path,label,genre", "{i},audio/{n}.wav,{l},x", "not used: id, genre"),
    ],
)
def test_common_forms_are_read_and_what_was_recognised_is_logged(
    root: Path, header: str, row: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(root, header, row)
    table = read(root)
    assert table["track_id"].tolist() == [f"audio/{i:03}.wav" for i in range(10)]
    assert table["label"].tolist() == ["dog", "cat"] * 5
    assert logged in caplog.text
    assert bool(logged) == bool(caplog.text)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
)
def test_utf_8_and_utf_16_with_a_byte_order_mark_are_read(
    root: Path, newline: str, mark: bytes, encoding: str
) -> None:
    text = newline.join(["path,label", "audio/000.wav,Käuzchen", "audio/001.wav,b"])
    (root / "m.csv").write_bytes(mark + text.encode(encoding))
    assert read(root)["label"].tolist() == ["Käuzchen", "b"]


def test_another_encoding_is_refused_with_the_one_to_type(root: Path) -> None:
    (root / "m.csv").write_bytes(
        "path,label\naudio/000.wav,Kauz\naudio/001.wav,Häher\n".encode("cp1252")
    )
    text = refusal(root)
    assert "line 3, byte 0xe4" in text
    assert "--dataset.encoding cp1252, if that line is right as 'audio/001.wav,Häher'" in text
    assert read(root, encoding="cp1252")["label"].tolist() == ["Kauz", "Häher"]
    assert "cannot be read with the encoding 'klingon'" in refusal(root, encoding="klingon")


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"PK\x03\x04", "an Excel workbook"), (b"PAR1", "a Parquet file"), (b"p\0a\0", "utf-16-le")],
)
def test_a_file_that_is_no_text_is_refused(root: Path, content: bytes, what: str) -> None:
    (root / "m.csv").write_bytes(content)
    assert what in refusal(root)


def test_columns_can_be_named(root: Path) -> None:
    write(
        root,
        "filename,fold,target,category,esc10,src_file,recorded_at",
        "{n}.wav,{i},{i},{l},False,s{i},2024-01-01T00:00:0{i}Z",
    )
    named = {"group": "src_file", "time": "recorded_at", "label": "target"}
    table = read(root, columns=named)
    assert table["group"].tolist() == [f"s{i}" for i in range(10)]
    assert table["label"].tolist() == [str(i) for i in range(10)]
    assert table["fold"].tolist() == list(range(10))
    assert table["time"].diff().dropna().eq(1).all()
    assert read(root, columns={"fold": "none"})["fold"].isna().all()
    text = refusal(root, columns={"group": "source_file"})
    assert "names 'source_file', which is no column; did you mean 'src_file'?" in text
    with pytest.raises(UserError, match=r"columns\.lable: unknown key; did you mean 'label'"):
        read(root, columns={"lable": "target"})


def test_columns_that_are_not_clear_are_refused_with_the_lines_to_type(root: Path) -> None:
    write(root, "file,audio,genre,species", "{n}.wav,{n}.wav,{l},{l}")
    text = refusal(root)
    assert "--dataset.columns.path file or --dataset.columns.path audio" in text
    assert "--dataset.columns.label genre or --dataset.columns.label species" in text
    assert read(root, columns={"path": "file", "label": "genre"})["label"].nunique() == 2
    write(root, "audio/000.wav,dog", "{n}.wav,{l}")
    assert "put the line path,label above it" in refusal(root)
    write(root, "path,label,label", "audio/{n}.wav,{l},x")
    assert "2 columns are named 'label'" in refusal(root)


def test_an_ambiguous_file_name_is_refused(root: Path) -> None:
    (root / "other").mkdir()
    (root / "other" / "003.wav").write_bytes(b"RIFF")
    write(root, "path,label", "{n}.wav,{l}")
    assert "'003.wav' (line 5; may be 'audio/003.wav' or 'other/003.wav')" in refusal(root)
    write(root, "path,label", "audio/{n}.wav,{l}")
    assert len(read(root)) == 10


def test_a_file_is_not_replaced_by_one_of_the_same_name_in_another_folder(root: Path) -> None:
    (root / "train").mkdir()
    (root / "train" / "x.wav").write_bytes(b"RIFF")
    write(root, "path,label", "audio/{n}.wav,{l}", more="train/003.wav,dog\n")
    assert "'train/003.wav' (line 12; only 'audio/003.wav' has that name)" in refusal(root)


def test_two_paths_that_lead_to_one_file_are_refused(root: Path) -> None:
    write(root, "path,label", "audio/{n}.wav,{l}", more="E:\\old\\audio\\000.wav,dog\n")
    text = refusal(root)
    assert "different paths lead to one file (1)" in text
    assert "'audio/000.wav' (line 2) and 'E:\\old\\audio\\000.wav' (line 12)" in text


def test_composed_and_decomposed_accents_are_one_name(root: Path) -> None:
    (root / "audio" / "cafe\u0301.wav").write_bytes(b"RIFF")
    write(root, "path,label", "audio/{n}.wav,{l}", more="audio/caf\u00e9.wav,dog\n")
    assert len(read(root)) == 11


def test_odd_paths_are_missing_files_and_no_crash(root: Path) -> None:
    odd = f"~nobody-here/x.wav,dog\n{'x' * 5000},dog\n../../x.wav,dog\naudio/001.WAV,dog\n"
    write(root, "path,label", "audio/{n}.wav,{l}", more=odd)
    text = refusal(root)
    assert "4 files are neither below" in text
    assert "'audio/001.WAV' (line 15; there is 'audio/001.wav')" in text


def test_equal_rows_are_one_track_and_this_is_logged(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(root, "path,label", "audio/{n}.wav,{l}", more="audio/000.wav,dog\n./audio/001.wav,cat\n")
    assert len(read(root)) == 10
    assert "2 rows repeat an earlier row" in caplog.text
    assert "line 12 ('audio/000.wav'), line 13 ('./audio/001.wav')" in caplog.text


def test_several_labels_are_refused_with_their_lines(root: Path) -> None:
    write(
        root, "path,label", "audio/{n}.wav,{l}", more='audio/000.wav,animal\naudio/001.wav,"a;b"\n'
    )
    text = refusal(root)
    assert "1 cells have several labels: 'a;b' (line 13)" in text
    assert "2 files have rows with different labels: 'audio/000.wav' is 'dog' (line 2)" in text
    assert "and 'animal' (line 12)" in text
    assert text.count("type --dataset.multi_label true") == 2
    assert "not supported" not in text


def test_a_label_with_a_comma_is_one_label_if_the_user_says_so(root: Path) -> None:
    write(root, "path,label", 'audio/{n}.wav,"{l}, small"')
    assert "10 cells have several labels" in refusal(root)
    assert set(read(root, commas_in_labels=True)["label"]) == {"dog, small", "cat, small"}


@pytest.mark.parametrize("mark", [";", ",", "|", " ; "])
def test_cells_of_a_multi_label_manifest_have_several_labels(
    root: Path, mark: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(root, "path,label", 'audio/{n}.wav,"{l}' + mark + 'animal"', more="")
    assert set(read(root, multi_label=True)["label"]) == {"animal;dog", "animal;cat"}
    assert "10 of 10 tracks have several labels, of 3 in all: it is multi-label" in caplog.text


def test_the_rows_of_one_file_are_one_track_with_all_their_labels(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = "audio/000.wav,animal;dog,g0\n./audio/000.wav,pet,g0\naudio/003.wav,wild,g3\n"
    write(root, "path,label,group", "audio/{n}.wav,{l},g{i}", more=more)
    table = read(root, multi_label=True)
    assert table["label"].tolist()[:4] == ["animal;dog;pet", "cat", "dog", "cat;wild"]
    assert len(table) == 10
    assert "2 files have several rows, which are one track with the labels of all" in caplog.text
    assert "'audio/000.wav', 'audio/003.wav'" in caplog.text
    write(root, "path,label,group", "audio/{n}.wav,{l},g{i}", more="audio/000.wav,pet,g1\n")
    assert "differs in its group (lines 2 and 12)" in refusal(root, multi_label=True)


def test_parts_of_a_file_are_merged_in_a_multi_label_manifest(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    more = "audio/000.wav,cat,1,2\naudio/000.wav,dog,2,3\n"
    write(root, "path,label,start,end", "audio/{n}.wav,{l},0,1", more=more)
    assert "type --dataset.multi_label true" in refusal(root)
    assert read(root, multi_label=True)["label"].tolist()[:2] == ["cat;dog", "cat"]
    assert "several rows, also of different parts (start, end)" in caplog.text


@pytest.mark.parametrize("column", ["labels", "Labels"])
def test_a_column_labels_with_semicolons_is_multi_label_by_itself(root: Path, column: str) -> None:
    write(root, f"path,{column}", "audio/{n}.wav,{l}", more="audio/000.wav,dog\n")
    assert set(read(root)["label"]) == {"dog", "cat"}
    write(root, f"path,{column}", "audio/{n}.wav,{l}; animal;{l}")
    assert set(read(root)["label"]) == {"animal;dog", "animal;cat"}
    write(root, "path,kinds", "audio/{n}.wav,{l};animal")
    assert "10 cells have several labels" in refusal(root, columns={"label": "kinds"})


def test_other_separators_in_a_column_labels_are_refused_with_both_lines_to_type(
    root: Path,
) -> None:
    write(root, "path,labels", "audio/{n}.wav,{l};animal", more='audio/000.wav,"a, b"\n')
    text = refusal(root)
    assert "1 cells have several labels: 'a, b' (line 12)" in text
    assert "--dataset.multi_label true" in text
    assert "--dataset.commas_in_labels true" in text
    assert "1 file has rows with different labels" in text


def test_a_comma_is_part_of_a_label_of_several_if_the_user_says_so(root: Path) -> None:
    write(root, "path,label", 'audio/{n}.wav,"{l}, small|animal"')
    table = read(root, multi_label=True, commas_in_labels=True)
    assert set(table["label"]) == {"animal;dog, small", "animal;cat, small"}
    write(root, "path,labels", 'audio/{n}.wav,"{l}, small;animal"')
    table = read(root, commas_in_labels=True)
    assert set(table["label"]) == {"animal;dog, small", "animal;cat, small"}


def test_a_semicolon_in_one_label_becomes_a_comma_with_a_note(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(root, "path,label", "audio/{n}.wav,{l};small")
    assert set(read(root, commas_in_labels=True)["label"]) == {"dog,small", "cat,small"}
    assert "is replaced by a comma: 'dog;small', 'cat;small'" in caplog.text


@pytest.mark.parametrize("cell", ["dog;", ";dog", "dog;;cat", ";"])
def test_an_empty_label_between_others_is_refused(root: Path, cell: str) -> None:
    write(root, "path,labels", "audio/{n}.wav,{l};x", more=f"audio/000.wav,{cell}\n")
    expected = "line 12: a label between two separators must not be empty"
    assert expected in refusal(root)
    assert expected in refusal(root, multi_label=True)


def test_a_multi_label_manifest_without_any_is_one_of_classes(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(root, "path,label", "audio/{n}.wav,{l}", more="audio/000.wav,\n")
    assert "line 12: path and label must not be empty" in refusal(root, multi_label=True)
    write(root, "path,label", "audio/{n}.wav,{l}")
    assert set(read(root, multi_label=True)["label"]) == {"dog", "cat"}
    assert "no track has several labels, so that they are classes" in caplog.text


def test_rows_that_are_parts_of_a_file_are_refused(root: Path) -> None:
    write(root, "path,label,start,end", "audio/{n}.wav,{l},0,1", more="audio/000.wav,dog,1,2\n")
    assert "line 12: further parts of a file (start, end), which are not supported" in refusal(root)


def test_rows_of_one_file_must_agree(root: Path) -> None:
    write(root, "path,label,group", "audio/{n}.wav,{l},g{i}", more="audio/000.wav,dog,h\n")
    assert "'audio/000.wav' differs in its group (lines 2 and 12)" in refusal(root)


def test_labels_keep_leading_zeros_and_lose_spaces_with_a_note(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "path,label\naudio/000.wav,01\naudio/001.wav,1\naudio/002.wav,1 \naudio/003.wav,NA\n"
    (root / "m.csv").write_text(text)
    assert read(root)["label"].tolist() == ["01", "1", "1", "NA"]
    assert "spaces around a label are not part of it, so these are one: '1' ('1 ')" in caplog.text


@pytest.mark.parametrize(
    ("folds", "expected"),
    [
        ("1 2 3 4 5", [0, 1, 2, 3, 4]),
        ("0 1 0 1 0", [0, 1, 0, 1, 0]),
        ("1.0 2.0 1.0 2.0 1.0", [0, 1, 0, 1, 0]),
        ("fold1 fold2 fold1 fold2 fold1", [0, 1, 0, 1, 0]),
    ],
)
def test_folds_are_counted_from_0(root: Path, folds: str, expected: list[int]) -> None:
    rows = [f"audio/{i:03}.wav,{'ab'[i % 2]},{fold}" for i, fold in enumerate(folds.split())]
    (root / "m.csv").write_text("\n".join(["path,label,fold", *rows, ""]))
    assert read(root)["fold"].tolist() == expected


def test_rows_of_the_test_set_need_no_fold(root: Path) -> None:
    rows = ["000.wav,a,test,", "001.wav,a,train,1", "002.wav,b,validation,2", "003.wav,b,TEST,"]
    text = "\n".join(["path,label,split,fold", *(f"audio/{row}" for row in rows), ""])
    (root / "m.csv").write_text(text)
    table = read(root)
    assert table["split"].tolist() == ["test", "train", "valid", "test"]
    assert table["fold"].isna().tolist() == [True, False, False, True]


def test_all_problems_are_listed_with_their_lines(root: Path) -> None:
    rows = [
        "audio/000.wav,a,g,train,1,yesterday",
        "audio/001.wav,,g,train,2,",
        "audio/002.wav,b,g,test,two,2024-01-01",
        "audio/099.wav,b,h,test,1,",
        "audio/003.wav,b,h,tets,1,1699999999999",
        'audio/004.wav,"a,b",h,train,,',
        "audio/005.wav,b,h,train,1,,too,many",
    ]
    (root / "m.csv").write_text("\n".join(["path,label,group,split,fold,time", *rows, ""]))
    text = refusal(root)
    for expected in (
        "1 file is neither below",
        "'audio/099.wav' (line 5)",
        "line 3: path and label must not be empty",
        "line 8: more cells than the 6 columns",
        "1 cells have several labels: 'a,b' (line 7)",
        "line 6: split 'tets' is unknown; did you mean 'test'?",
        "line 4: fold 'two' is no whole number from 0 on",
        "line 7: the fold is missing",
        "line 2: time 'yesterday' is neither ISO 8601",
        "line 6: time '1699999999999' is no number of seconds (are they milliseconds?)",
        "groups in more than one split (1): 'g' (test, train; lines 2, 4)",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("folds", "expected"),
    [
        ("1 2 4 4", "the folds 1, 2, 4 have gaps (3 missing)"),
        ("2 3 2 3", "the folds 2, 3 have gaps (1 missing)"),
        ("1 999999999 2 2", "have gaps (3, 4, 5, 6, 7 and 999999991 more missing)"),
        ("1 2 " + "9" * 5000 + " 2", "is no whole number"),
        ("1 1 1 1", "every row is in the one fold 1"),
        ("-1 0 1 1", "line 2: fold '-1' is no whole number"),
        ("1.5 1 2 1", "line 2: fold '1.5' is no whole number"),
    ],
)
def test_folds_with_gaps_are_refused(root: Path, folds: str, expected: str) -> None:
    rows = [f"audio/{i:03}.wav,{'ab'[i % 2]},{fold}" for i, fold in enumerate(folds.split())]
    (root / "m.csv").write_text("\n".join(["path,label,fold", *rows, ""]))
    text = refusal(root)
    assert expected in text


def test_a_group_in_two_folds_is_refused_unless_other_groups_are_given(root: Path) -> None:
    write(root, "path,label,group,fold", "audio/{n}.wav,{l},g,{i}")
    assert "groups in more than one fold (1): 'g'" in refusal(root)
    assert read(root, columns={"group": "none"})["group"].nunique() == 10
    assert read(root, group=r"(\d+)\.wav")["group"].nunique() == 10


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("1970-01-01", 0.0),
        ("1970-01-02T00:00:00Z", 86400.0),
        ("1970-01-01T02:00:00+02:00", 0.0),
        ("1970-01-01 00:00:01.5", 1.5),
        ("19700102", 86400.0),
        ("1700000000", 1.7e9),
        ("-3.5", -3.5),
    ],
)
def test_times_are_seconds_since_1970(cell: str, seconds: float) -> None:
    assert math.isclose(read_time(cell), seconds)


@pytest.mark.parametrize("cell", ["06:30", "nan", "inf", "31.12.2024", "1700000000000"])
def test_other_times_are_refused(cell: str) -> None:
    with pytest.raises(ValueError, match=f"'{cell}'"):
        read_time(cell)


def test_an_open_quotation_mark_does_not_swallow_the_rows_below(root: Path) -> None:
    write(root, "path,label", "audio/{n}.wav,{l}", more='audio/000.wav,"dog\naudio/001.wav,cat\n')
    assert "is not a CSV file: line" in refusal(root)


def test_a_column_unknown_names_labels_that_are_not_known(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(root, "path,label,unknown", "audio/{n}.wav,{l},", more="")
    assert "unknown" not in read(root)
    path = root / "m.csv"
    lines = ["path,label,unknown", "audio/000.wav,dog;cat,", "audio/001.wav,dog, cat ;cat"]
    path.write_text("\n".join([*lines, "audio/002.wav,,cat", "audio/003.wav,cat,", ""]))
    table = folder.tracks(folder.Config(str(root), manifest="m.csv"))
    assert table["label"].tolist() == ["cat;dog", "dog", "", "cat"]
    assert table["unknown"].tolist() == ["", "cat", "cat", ""]
    assert "2 of 4 tracks have unknown labels: it is multi-label" in caplog.text


def test_contradictions_about_unknown_labels_are_listed_with_their_lines(root: Path) -> None:
    path = root / "m.csv"
    lines = ["path,label,unknown", "audio/000.wav,dog,dog", "audio/001.wav,cat,dgo"]
    path.write_text("\n".join([*lines, "audio/002.wav,,cat;dog", "audio/003.wav,,", ""]))
    with pytest.raises(UserError) as caught:
        folder.tracks(folder.Config(str(root), manifest="m.csv"))
    text = str(caught.value)
    assert "a label is both present and unknown: 'dog' (line 2)" in text
    assert "unknown names what is no label of any row: 'dgo' (line 3; did you mean 'dog'?)" in text
    assert "1 row has no label, and none is known to be absent: line 4" in text
    assert "line 5: path and label must not be empty" in text
    assert "--dataset.columns.unknown none" in text


def test_rows_of_one_file_leave_unknown_what_no_row_knows(root: Path) -> None:
    path = root / "m.csv"
    lines = ["path,label,unknown", "audio/000.wav,dog,cat;owl", "audio/000.wav,,cat;dog"]
    path.write_text("\n".join([*lines, "audio/001.wav,cat,", "audio/002.wav,owl,", ""]))
    table = folder.tracks(folder.Config(str(root), manifest="m.csv"))
    assert table["label"].tolist()[0] == "dog"
    assert table["unknown"].tolist()[0] == "cat"  # the second row knows that there is no owl
