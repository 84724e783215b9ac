"""Sweeps on precomputed features (tables, images), and on feature tables computed from audio."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chorale.search.baselines.classifiers import GRIDS
from chorale.search.cli import main

SMALL = """
budget: {{trials: 2, max_epochs: 3}}
finalists: {{configs: 1, folds: 2}}
ensemble: {{kinds: [soft_vote]}}
cluster: {{address: none}}
runs: {runs}
"""


def run(sweep: str, tmp_path: Path, *args: str) -> dict[str, Any]:
    file = tmp_path / "ready.yaml"
    file.write_text(sweep + SMALL.format(runs=tmp_path / "runs"))
    assert main(["sweep", str(file), *args]) == 0
    report = tmp_path / "runs" / "ready" / "report.json"
    found: dict[str, Any] = json.loads(report.read_text())
    return found


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two classes, one of them rare, in columns of very different scale; three rows per track."""
    rng = np.random.default_rng(0)
    lines = ["id,label,artist,small,large"]
    for label, n_artists, mean in (("often", 8, 0.0), ("rare", 4, 3.0)):
        for artist in range(n_artists):
            for track in range(3):
                for _ in range(3):
                    small, large = mean + rng.normal(0, 1, 2)
                    name = f"{label}{artist}"
                    lines.append(f"{name}-{track},{label},{name},{small / 1000},{large * 1000}")
    path = tmp_path / "table.csv"
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.mark.parametrize("balance", ["class_weights", "sampling"])
def test_a_sweep_on_a_table_works_with_every_class_balancing(
    table: Path, tmp_path: Path, balance: str
) -> None:
    check_table(table, tmp_path, balance)


def test_a_sweep_on_a_table_works_with_every_baseline(
    table: Path, all_baselines: None, tmp_path: Path
) -> None:
    check_table(table, tmp_path, "none")


def test_a_sweep_on_a_table_in_limited_time_works(table: Path, tmp_path: Path) -> None:
    found = run(
        f"dataset: {{name: table, root: {table}, id: id, group: artist}}",
        tmp_path,
        *("--budget.minutes", "2", "--budget.max_epochs", "null"),
    )
    assert found["trials"]["complete"] >= 1  # it ends where no trial can be better


def check_table(table: Path, tmp_path: Path, balance: str) -> None:
    synthetic = "true" if balance == "sampling" else "false"
    found = run(
        f"dataset: {{name: table, root: {table}, id: id, group: artist}}\n"
        f"architectures: [mlp, softmax_regression]\n"
        f"train: {{balance: {balance}, synthetic: {synthetic}, lr: 0.01, optimizer: adam}}",
        tmp_path,
    )
    assert found["dataset"]["n_tracks"] == 36
    assert found["ensemble"]["test"]["accuracy"] > 0.8
    assert set(found["baselines"]) == GRIDS.keys() - {"svm_thirds"}
    kept = json.loads((tmp_path / "runs/ready/split.json").read_text())
    assert "synthetic" not in json.dumps(kept)


def test_a_sweep_on_spectrogram_images_works(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for genre, level in (("blues", 40), ("metal", 200)):
        folder = tmp_path / "pictures" / genre
        folder.mkdir(parents=True)
        for number in range(0, 100, 4):
            pixels = rng.integers(level - 40, level + 40, (12, 20, 4)).astype(np.uint8)
            Image.fromarray(pixels, "RGBA").save(folder / f"{genre}{number:05d}.png")
    found = run(
        f"dataset: {{name: gtzan_images, root: {tmp_path / 'pictures'}, protocol: all}}\n"
        f"architectures: [image_cnn]\ntrain: {{crop_s: 30}}",
        tmp_path,
    )
    assert found["ensemble"]["test"]["accuracy"] > 0.8


def test_a_sweep_on_statistics_computed_from_audio_works(corpus: Path, tmp_path: Path) -> None:
    found = run(
        f"dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}\n"
        f"features: {{stats57: {{sample_rate: 8000}}}}\n"
        f"architectures: [mlp]\n"
        f"train: {{lr: 0.01, optimizer: adam}}",
        tmp_path,
    )
    assert set(found["trials"]["per_architecture"]) == {"mlp"}
    assert found["ensemble"]["test"]["accuracy"] > 0.8


def test_audio_features_of_a_table_are_refused_in_one_line(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(
        f"dataset: {{name: table, root: {table}}}\nfeatures: {{mel: {{}}}}\narchitectures: [mlp]\n"
    )
    assert main(["sweep", str(file)]) == 1
    error = capsys.readouterr().err
    assert "features.mel: this dataset brings no audio to compute it from, but table" in error
    assert "1 problem" in error  # the architecture accepts what the dataset has


def test_a_sweep_by_time_trains_on_earlier_tracks_only(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["label,visit,day,x,y"]
    for visit in range(30):
        for label in (0, 1):
            for _ in range(2):
                x, y = 3 * label + rng.normal(0, 1, 2)
                lines.append(f"c{label},v{visit},2024-01-{visit + 1:02d},{x},{y}")
    (tmp_path / "visits.csv").write_text("\n".join([*lines, "last,v30,2024-02-01,9,9", ""]))
    found = run(
        f"dataset: {{name: table, root: {tmp_path / 'visits.csv'}, group: visit, time: day}}\n"
        "split: {time: true}\nlabels: {rare: leave_out}\narchitectures: [mlp]\n"
        "train: {lr: 0.01, optimizer: adam}",
        tmp_path,
    )
    assert found["ensemble"]["test"]["accuracy"] > 0.8
    assert found["split"]["protocol"].startswith("test the latest by group, folds by time")
    assert found["dataset"]["label_changes"] == {"left_out": {"last": 1}}
    split, n_train_only = found["split"], found["split"]["n_train_only"]
    assert n_train_only == split["n_development"] / 2
    assert split["n_development"] + n_train_only + split["n_test"] == 120
    page = (tmp_path / "runs" / "ready" / "report.html").read_text()
    assert f"{n_train_only} more are only trained on" in page
    assert "left out: 1 class with 1 track" in page


def test_a_class_that_is_only_trained_on_is_learned_and_not_scored(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["label,who,x,y"]
    for at, (label, n) in enumerate({"a": 12, "b": 12, "rare": 2}.items()):
        for i in range(n):
            x, y = 4 * at + rng.normal(0, 1, 2)
            lines.append(f"{label},{label}{i},{x},{y}")
    (tmp_path / "table.csv").write_text("\n".join([*lines, ""]))
    found = run(
        f"dataset: {{name: table, root: {tmp_path / 'table.csv'}, group: who}}\n"
        "labels: {rare: train_only}\narchitectures: [mlp]\ntrain: {lr: 0.01, optimizer: adam}",
        tmp_path,
        "--ensemble.kinds",
        "[soft_vote, hard_vote, weighted_vote, greedy, stacking, fusion]",
    )
    assert found["dataset"]["labels"] == ["a", "b", "rare"]
    assert found["dataset"]["label_changes"] == {"train_only": {"rare": 2}}
    assert found["split"]["n_train_only"] == 2
    assert found["per_class"]["rare"]["n"] == 0
    assert found["ensemble"]["test"]["accuracy"] > 0.8
    (line,) = [line for line in found["cautions"] if "rare" in line]
    assert line.startswith("1 class is only trained on, so no score says how well")
    page = (tmp_path / "runs" / "ready" / "report.html").read_text()
    assert "only trained on, never scored: 1 class with 2 tracks: &#39;rare&#39; (2)" in page


def test_a_label_that_is_only_trained_on_is_learned_and_not_scored(tmp_path: Path) -> None:
    """Tracks of `rare` that have another label are on both sides, those without on neither."""
    rng = np.random.default_rng(0)
    lines = ["label,who,x,y"]
    for i in range(30):
        texts = ["a", "b", "a;b"][i % 3]
        texts = {4: "a;b;rare", 5: "rare"}.get(i, texts)
        has = [4.0 * (name in texts.split(";")) for name in "ab"]
        x, y = rng.normal(has, 1)
        lines.append(f"{texts},{'w4' if i in (4, 5) else f'w{i}'},{x},{y}")
    (tmp_path / "table.csv").write_text("\n".join([*lines, ""]))
    found = run(
        f"dataset: {{name: table, root: {tmp_path / 'table.csv'}, group: who}}\n"
        "labels: {rare: train_only}\narchitectures: [mlp]\ntrain: {lr: 0.01, optimizer: adam}",
        tmp_path,
        "--ensemble.kinds",
        "[soft_vote, stacking]",
    )
    assert found["dataset"]["labels"] == ["a", "b", "rare"]
    assert found["dataset"]["label_changes"] == {"train_only": {"rare": 2}}
    assert found["split"]["n_test"] + found["split"]["n_development"] == 29
    of_rare = found["per_class"]["rare"]
    assert (of_rare["n"], of_rare["n_known"], of_rare["average_precision"]) == (0, 0, None)
    scored = [found["per_class"][name]["average_precision"] for name in "ab"]
    assert found["ensemble"]["test"]["mAP"] == pytest.approx(np.mean(scored), abs=0.1)
    assert found["ensemble"]["test"]["mAP"] > 0.8
    (line,) = [line for line in found["cautions"] if "rare" in line]
    assert line.startswith("1 label is only trained on, so no score says how well")
    page = (tmp_path / "runs" / "ready" / "report.html").read_text()
    assert "only trained on, never scored: 1 class with 2 tracks: &#39;rare&#39; (2)" in page


def polyphony(file: Path, *, n: int = 90) -> None:
    """A table of labels a, b and c, each in a column; 60 % of the pairs are unknown."""
    rng = np.random.default_rng(0)
    has = rng.random((n, 3)) < 0.5
    x = has * 3.0 + rng.normal(size=(n, 3))
    unknown = rng.random((n, 3)) < 0.6
    unknown[unknown.all(axis=1), 0] = False
    names = np.array(list("abc"))
    lines = ["label,hidden,who,x,y,z"]
    for i in range(n):
        present, gaps = (";".join(names[mask]) for mask in (has[i] & ~unknown[i], unknown[i]))
        lines.append(f"{present},{gaps},w{i // 3},{','.join(map(str, x[i]))}")
    file.write_text("\n".join([*lines, ""]))


def test_a_sweep_with_unknown_labels_ends_with_a_report(tmp_path: Path) -> None:
    polyphony(tmp_path / "table.csv")
    found = run(
        f"dataset: {{name: table, root: {tmp_path / 'table.csv'}, group: who, unknown: hidden}}\n"
        "architectures: [mlp]\ntrain: {lr: 0.01, optimizer: adam, mixup_alpha: 0.2}",
        tmp_path,
        "--ensemble.kinds",
        "[soft_vote, hard_vote, weighted_vote, greedy, stacking, fusion]",
    )
    n_test = found["split"]["n_test"]
    for one in found["per_class"].values():
        assert 0 < one["n"] < one["n_known"] < n_test
    assert found["ensemble"]["test"]["mAP"] > 0.8
    study = tmp_path / "runs" / "ready"
    page = (study / "report.html").read_text()
    assert f"of {found['per_class']['a']['n_known']} known" in page
    truth = json.loads((study / "truth.json").read_text())
    assert len(truth["unknown"]) > 50
