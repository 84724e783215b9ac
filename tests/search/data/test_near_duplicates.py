"""Near duplicates by an encoder are warnings of `data check`, of a sweep and beside its scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from rich.console import Console

from chorale.datasets.splitting.split import Split, make_split
from chorale.datasets.splitting.split_config import SplitConfig
from chorale.search.cli import main
from chorale.search.config.encoder_choices import is_encoder
from chorale.search.config.resolve import resolve
from chorale.search.config.schema import load_sweep_config
from chorale.search.console.progress import Progress
from chorale.search.data import near_duplicates
from chorale.search.data.near_duplicates import near_duplicate_lines
from chorale.search.data.prepare import prepare
from chorale.search.evaluation.near_duplicates import near_duplicate_warnings
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.ledger.near_pairs import NearPair, read_near_pairs, write_near_pairs
from tests.search.encoders import RATE, add_encoder

N = 104
COPIED, COPY = "rock/artist0.wav", "rock/artist100.wav"


def sound(seed: int) -> np.ndarray:
    """1.2 s of noise with its own spectrum."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal(9_600))
    bands = np.exp(rng.normal(0, 1.2, 8))[np.arange(len(spectrum)) * 8 // len(spectrum)]
    made = np.fft.irfft(spectrum * bands, 9_600)
    return np.asarray(0.2 * made / made.std(), np.float32)


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep over sounds of two labels, one of which is another with its frames in other order."""
    monkeypatch.setenv("CHORALE_ENCODERS", str(tmp_path / "encoders"))
    add_encoder(tmp_path / "encoders", "low", n_bins=24)
    for i in range(N):
        path = tmp_path / "audio" / ("rock", "jazz")[i % 2] / f"artist{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        made = sound(0).reshape(-1, 400)[::-1].ravel() if path.match(COPY) else sound(i)
        soundfile.write(path, made, RATE, subtype="FLOAT")
    file = tmp_path / "s.yaml"
    file.write_text(
        f"dataset: {{name: folder, root: {tmp_path / 'audio'}, group: '(artist[0-9]+)'}}\n"
        "features: {encoder: low}\nfinalists: {folds: 2}\n"
        f"runs: {tmp_path / 'runs'}\ncluster: {{address: none}}\n"
    )
    return file


def test_data_check_lists_the_two_files_and_their_similarity(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = tmp_path / "found.csv"
    assert main(["data", "check", str(sweep), "--csv", str(csv)]) == 1
    found = pd.read_csv(csv)
    ((path, outcome, problem, detail),) = found[["path", "outcome", "problem", "detail"]].to_numpy()
    assert Path(path).match(COPY)
    assert (outcome, problem) == ("used", "near duplicate")
    assert detail == f"of '{COPIED}': cosine similarity 1.000 by encoder-low"
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 pair of tracks of different groups may be the same recording" in printed
    assert f"{N} of {N} tracks are usable" in printed, "nothing is dropped"


def test_data_check_without_an_encoder_computes_no_features(sweep: Path, tmp_path: Path) -> None:
    sweep.write_text(sweep.read_text().replace("encoder: low", "mel: {}"))
    assert main(["data", "check", str(sweep)]) == 0
    assert not list((tmp_path / "runs" / "cache").glob("*/manifest.json"))


def prepared(sweep: Path, tmp_path: Path, **dotted: Any) -> tuple[str, Path]:
    """What the data stage of the sweep prints, and its table of faults."""
    config = load_sweep_config(str(sweep), dotted)
    console = Console(file=(tmp_path / "out.txt").open("w"), width=1_000)
    prepare(resolve(config, where="s"), Progress(console), map)
    console.file.close()
    return (tmp_path / "out.txt").read_text(), config.paths.problems_csv


def test_a_sweep_warns_before_it_trains(sweep: Path, tmp_path: Path) -> None:
    printed, csv = prepared(sweep, tmp_path)
    (line,) = [line for line in printed.splitlines() if line.startswith("caution")]
    assert COPIED in line
    assert COPY in line
    assert "by encoder-low" in line
    assert pd.read_csv(csv)["problem"].tolist() == ["near duplicate"]
    (pair,) = read_near_pairs(csv.parent / "near_duplicates.json")
    assert (pair.track_id, pair.other_id) == (COPIED, COPY)


def test_pairs_of_one_group_are_no_warning(sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "audio" / COPY).rename(tmp_path / "audio" / "rock" / "artist0-again.wav")
    printed, csv = prepared(sweep, tmp_path)
    assert "caution" not in printed
    assert not csv.exists()


def test_pairs_that_the_fingerprint_found_are_no_second_warning(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = near_duplicates.find_near_pairs

    def with_known(tracks: pd.DataFrame, known: pd.DataFrame, stores: Any) -> list[NearPair]:
        assert len(find(tracks, known, stores)) == 1
        pair = pd.DataFrame({"track_id": [COPY], "other_id": [COPIED]})
        return find(tracks, pair, stores)

    monkeypatch.setattr(near_duplicates, "find_near_pairs", with_known)
    assert "caution" not in prepared(sweep, tmp_path)[0]


def test_many_pairs_are_counted_and_too_few_or_many_tracks_are_stated() -> None:
    pairs = [NearPair(f"t{i}", f"u{i}", "alike") for i in range(5)]
    (line,) = near_duplicate_lines(pairs, 100)
    assert line.startswith("5 pairs of tracks")
    assert "'t2' and 'u2' (alike) and 2 more; listen" in line
    assert near_duplicate_lines([], 100) == []
    for n in (99, 30_001):
        (line,) = near_duplicate_lines([], n)
        assert line == "near duplicates are only looked for among 100 to 30,000 tracks"


def test_joined_encoders_are_not_read_a_second_time() -> None:
    names = ("encoder-a", "joined-a+b", "mel", "mfcc_statistics", "encoder")
    assert [name for name in names if is_encoder(name)] == ["encoder-a", "encoder"]


# -- beside the scores ------------------------------------------------------------------------


def truth() -> tuple[GroundTruth, Split]:
    ids = [f"t{i:03}" for i in range(N)]
    table = pd.DataFrame({"track_id": ids, "group": ids, "label": ["a", "b"] * (N // 2)})
    table = table.assign(split=None, fold=pd.array([None] * N, dtype="Int64"), time=np.nan)
    split = make_split(table, SplitConfig(), n_folds=2)
    labels: dict[str, int | tuple[int, ...]] = {one: i % 2 for i, one in enumerate(ids)}
    return GroundTruth(("a", "b"), split, labels, dict(zip(ids, ids, strict=True))), split


def test_only_pairs_on_two_sides_of_the_split_are_beside_the_scores(tmp_path: Path) -> None:
    of, split = truth()
    (test, other, *_), (fold, *_) = split.test_ids, split.valid_ids(0)
    write_near_pairs(tmp_path / "near.json", [NearPair(test, fold, "so alike")])
    (line,) = near_duplicate_warnings(read_near_pairs(tmp_path / "near.json"), of)
    assert line.startswith("1 pair of near duplicates is on two sides of the split")
    assert f"'{test}' and '{fold}' (so alike)" in line
    assert near_duplicate_warnings([NearPair(test, other, "so alike")], of) == []
    assert read_near_pairs(tmp_path / "none.json") == []
