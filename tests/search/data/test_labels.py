"""The section `labels` of a sweep, from its track table to the study's fingerprint."""

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from chorale.datasets.errors import UserError
from chorale.search.cli import main
from chorale.search.config.resolve import ResolvedSweep, resolve
from chorale.search.config.schema import load_sweep_config, sweep_yaml_text
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import PreparedData, prepare, study_fingerprint
from chorale.search.ledger.lease import refuse_changed
from chorale.search.report.page.sentences import label_change_lines


@pytest.fixture
def birds(tmp_path: Path) -> str:
    """A sweep file: classes of 8, 7, 4, 2 and 1 tracks; `solo` has 4 tracks of one group."""
    n_of = {"robin": 8, "wren": 7, "owl": 4, "kite": 2, "rail": 1, "solo": 4}
    rows = [
        (label, "one" if label == "solo" else f"{label}{i}", i + 10 * at, i * i)
        for at, (label, n) in enumerate(n_of.items())
        for i in range(n)
    ]
    pd.DataFrame(rows, columns=["label", "who", "x", "y"]).to_csv(
        tmp_path / "birds.csv", index=False
    )
    file = tmp_path / "birds.yaml"
    file.write_text(
        f"dataset: {{name: table, root: {tmp_path / 'birds.csv'}, group: who}}\n"
        f"cluster: {{address: none}}\nfinalists: {{folds: 5}}\nruns: {tmp_path / 'runs'}\n"
    )
    return str(file)


def resolved(birds: str, **dotted: object) -> ResolvedSweep:
    keys = {name.replace("__", "."): value for name, value in dotted.items()}
    return resolve(load_sweep_config(birds, keys), where=birds)


def prepared(sweep: ResolvedSweep) -> tuple[PreparedData, str]:
    printed = io.StringIO()
    return prepare(sweep, Progress(Console(file=printed, width=400)), map), printed.getvalue()


def test_leaving_rare_classes_out_takes_one_key(birds: str) -> None:
    with pytest.raises(UserError, match=r"--labels.rare leave_out \(3 of 6 classes, 7 of"):
        prepared(resolved(birds))
    data, printed = prepared(resolved(birds, labels__rare="leave_out"))
    assert data.class_names == ("owl", "robin", "wren")
    assert data.label_changes.left_out == {"kite": 2, "rail": 1, "solo": 4}
    assert "left out: 3 classes with 7 tracks: 'kite' (2), 'rail' (1), 'solo' (4)" in printed
    assert (
        "3 folds instead of 5: 'owl' has 4 groups; --labels.min_groups 6 keeps 5 folds" in printed
    )
    assert len(data.tracks) == len(data.labels) == 19


def test_accepted_few_groups_keep_a_class_of_one_group(birds: str) -> None:
    data, printed = prepared(
        resolved(birds, labels__rare="leave_out", audit__accept=["few_groups"])
    )
    assert data.class_names == ("owl", "robin", "solo", "wren")
    assert data.label_changes.by_track == {"solo": 4}
    assert data.split.protocol.startswith("test by group (by track for 1 class of one group)")
    assert "split by track, as all tracks are of one group" in printed
    solo = data.tracks["track_id"][data.tracks["label"] == "solo"]
    assert 0 < len(set(solo) & set(data.split.test_ids)) < 4


def test_a_class_that_becomes_rare_by_the_audit_is_left_out_then(
    birds: str, tmp_path: Path
) -> None:
    table = pd.read_csv(tmp_path / "birds.csv")
    owls = table["label"] == "owl"
    table.loc[owls, ["x", "y"]] = [1, 1]  # one recording: its groups are joined
    table.to_csv(tmp_path / "birds.csv", index=False)
    data, printed = prepared(resolved(birds, labels__rare="leave_out"))
    assert data.class_names == ("robin", "wren")
    assert "after the audit left out: 1 class with 4 tracks: 'owl' (4)" in printed
    assert data.label_changes.left_out == {"kite": 2, "rail": 1, "solo": 4, "owl": 4}


def test_a_study_is_not_resumed_with_other_labels(birds: str) -> None:
    before = resolved(birds, labels__rare="leave_out")
    now = resolved(birds, labels__rare="merge")
    same = resolved(birds, labels__leave_out=["kite", "rail", "solo"])
    fingerprints = [study_fingerprint(one, prepared(one)[0]) for one in (before, now, same)]
    with pytest.raises(UserError, match="was started with another dataset, another split"):
        refuse_changed("s", fingerprints[0], fingerprints[1])
    refuse_changed("s", fingerprints[0], fingerprints[2])
    assert "labels:\n  leave_out: []\n  merge: {}\n" in sweep_yaml_text(before.sweep)


def test_the_page_states_what_was_left_out_and_merged(birds: str) -> None:
    data, _ = prepared(resolved(birds, labels__rare="merge", labels__leave_out=["wren"]))
    report = {"dataset": {"label_changes": data.label_changes.as_json()}}
    assert label_change_lines(report) == [
        "left out: 1 class with 7 tracks: 'wren' (7)",
        "merged into 'other': 3 classes with 7 tracks: 'kite' (2), 'rail' (1), 'solo' (4)",
    ]
    assert label_change_lines({"dataset": {}}) == []  # of an older version


def test_data_check_names_rare_classes_and_what_to_type(
    birds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", birds]) == 1
    shown = capsys.readouterr().out
    assert (
        "3 classes are rare: 'kite' has 2 groups, 'rail' has 1 group, 'solo' has 1 group." in shown
    )
    assert "--labels.rare leave_out   3 classes with 19 tracks in 3 folds" in shown
    assert "--labels.rare merge       4 classes with 26 tracks in 3 folds" in shown
    assert "--audit.accept '[few_groups]'" in shown
    assert main(["data", "check", birds, "--labels.rare", "leave_out"]) == 0
    shown = capsys.readouterr().out
    assert "left out: 3 classes with 7 tracks" in shown
    assert "are rare" not in shown


def test_data_check_lists_a_class_that_is_split_by_track_as_accepted(
    birds: str, tmp_path: Path
) -> None:
    options = ["--labels.rare", "leave_out", "--audit.accept", "[few_groups]"]
    assert main(["data", "check", birds, *options, "--csv", str(tmp_path / "found.csv")]) == 1
    found = pd.read_csv(tmp_path / "found.csv")
    assert set(found["problem"]) == {"few_groups"}
    assert set(found["outcome"]) == {"accepted"}
    assert len(found) == 4
