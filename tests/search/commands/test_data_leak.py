from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import UNKNOWN
from chorale.datasets.store.feature_store import FeatureStore
from chorale.datasets.synthesis import compose
from chorale.datasets.synthesis import corpus as synthetic_corpus
from chorale.search.cli import main
from chorale.search.commands import data_leak
from chorale.search.commands.sweep_options import SweepOptions, parse_sweep_options
from chorale.search.config import yaml_file
from chorale.search.evaluation import protocols
from chorale.search.evaluation.protocols import compare_protocols

N_BINS = 36


def store_of(tracks: list[np.ndarray]) -> FeatureStore:
    return FeatureStore(
        folder=Path("nowhere"),
        feature="made up",
        recipe_key="",
        frame_rate_hz=10.0,
        n_bins=tracks[0].shape[1],
        frames=np.concatenate(tracks).astype(np.float32),
        offsets=np.concatenate([[0], np.cumsum([len(track) for track in tracks])]),
    )


def corpus(
    *, group_sound: float, track_sound: float, label_sound: float = 1.0, n_frames: int = 90
) -> tuple[FeatureStore, np.ndarray, np.ndarray]:
    """Three labels x 6 groups x 4 tracks; label, group and track shift the features as given."""
    rng = np.random.default_rng(0)
    of_label = label_sound * rng.standard_normal((3, N_BINS))
    tracks, labels, groups = [], [], []
    for label in range(3):
        for group in range(6):
            of_group = group_sound * rng.standard_normal(N_BINS)
            for _ in range(4):
                of_track = track_sound * rng.standard_normal(N_BINS)
                noise = rng.standard_normal((n_frames, N_BINS))
                tracks.append(of_label[label] + of_group + of_track + noise)
                labels.append(label)
                groups.append(f"{label}-{group}")
    return store_of(tracks), np.array(labels), np.array(groups)


def accuracies(found: protocols.ProtocolComparison) -> dict[str, float]:
    return {claim.protocol: claim.value for claim in found.scores}


def test_similar_tracks_of_an_artist_inflate_every_protocol_but_the_disjoint_one() -> None:
    store, labels, groups = corpus(group_sound=2.0, track_sound=0.1, label_sound=0.1)
    got = accuracies(compare_protocols(store, np.arange(72), labels=labels, groups=groups))
    assert list(got) == ["segments shuffled", "tracks shuffled", "groups disjoint"]
    assert got["tracks shuffled"] > 0.9
    assert got["groups disjoint"] < 0.6


def test_similar_segments_of_a_track_inflate_shuffled_segments_only() -> None:
    store, labels, groups = corpus(group_sound=0.1, track_sound=3.0, label_sound=0.1)
    got = accuracies(compare_protocols(store, np.arange(72), labels=labels, groups=groups))
    assert got["segments shuffled"] > got["tracks shuffled"] + 0.15


def test_where_only_the_label_matters_all_protocols_agree() -> None:
    store, labels, groups = corpus(group_sound=0.0, track_sound=0.0)
    got = accuracies(compare_protocols(store, np.arange(72), labels=labels, groups=groups))
    assert min(got.values()) > 0.95


def test_segments_stay_within_their_tracks_and_only_given_rows_are_used() -> None:
    store, labels, groups = corpus(group_sound=1.0, track_sound=1.0, n_frames=95)
    rows = np.arange(72)[::-1][:60]  # in another order than the store's
    found = compare_protocols(store, rows, labels=labels[rows], groups=groups[rows])
    assert found.n_tracks == 60
    assert found.segment_s == 3.0
    assert found.n_segments == 180  # 9.5 s give three segments of 3 s each
    direct = protocols._cut(store, rows, labels[rows], np.zeros(60, np.int64), seed=0)
    first = store.frames[store.offsets[rows[0]] :][:30].mean(axis=0)
    at = np.flatnonzero(direct.track == 0)[0]
    assert direct.x[at, :N_BINS] == pytest.approx(first, abs=1e-5)
    assert direct.label[at] == labels[rows[0]]


def test_ready_vectors_have_no_segments_to_shuffle() -> None:
    store, labels, groups = corpus(group_sound=2.0, track_sound=0.1, n_frames=1)
    got = accuracies(compare_protocols(store, np.arange(72), labels=labels, groups=groups))
    assert list(got) == ["tracks shuffled", "groups disjoint"]


def test_a_large_corpus_is_subsampled_by_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocols, "MAX_SCORED_SEGMENTS", 150)
    store, labels, groups = corpus(group_sound=1.0, track_sound=1.0)
    found = compare_protocols(store, np.arange(72), labels=labels, groups=groups)
    assert found.n_tracks == 4 * found.n_groups
    assert 150 <= found.n_segments < 170


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (np.arange(72).astype(str), "each track is a group of its own"),
        (np.repeat(["a", "b", "c"], 24), "a class has only one group"),
    ],
)
def test_groups_that_do_not_allow_a_comparison_are_refused(
    groups: np.ndarray, expected: str
) -> None:
    store, labels, _ = corpus(group_sound=1.0, track_sound=1.0)
    with pytest.raises(UserError, match=expected):
        compare_protocols(store, np.arange(72), labels=labels, groups=groups)


def test_the_command_shows_three_bars_and_a_sentence(
    tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "leak", *tiny, "--cluster.address", "none"]) == 0
    output = capsys.readouterr().out
    assert output.count("█ ") + output.count("█\n") == 3
    assert "With segments shuffled the accuracy would be reported as" in output
    assert "of 48 tracks in 4 groups" in output  # without the locked test set


def test_a_datasets_name_is_enough_and_its_features_are_mfcc(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def noise(*, artist: int, number: int, clip_s: float, **_: Any) -> NDArray[np.float64]:
        rng = np.random.default_rng([artist, number])
        return rng.uniform(-0.5, 0.5, synthetic_corpus.n_samples(clip_s))

    monkeypatch.setattr(compose, "compose_track", noise)
    monkeypatch.setattr(synthetic_corpus, "_fitting_processes", lambda n: 1)
    args = ["synthetic", "--root", str(tmp_path / "audio"), "--runs", str(tmp_path / "runs")]
    args += ["--n_tracks", "60", "--n_artists", "3", "--clip_s", "0.6"]
    args += ["--cluster.address", "none", "--finalists.folds", "2"]
    assert main(["data", "leak", *args]) == 0
    output = capsys.readouterr().out
    assert "synthetic: 60 tracks" in output
    assert "mfcc: " in output
    assert "mel: " not in output
    assert "With segments shuffled the accuracy would be reported as" in output


def named(*args: str, feature: str = "mfcc") -> SweepOptions:
    return parse_sweep_options(args, command="data leak", feature=feature)


@pytest.mark.parametrize("key", ["--root", "--dataset.root"])
def test_a_key_of_the_dataset_may_be_abbreviated(key: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("dataset: {name: gtzan, root: elsewhere}")
    for name in ("gtzan", "fsdd", str(file)):
        assert named(name, key, "here.zip").sweep.dataset["root"] == "here.zip"
    assert named("gtzan", key, "x", "--dataset.protocol", "all").sweep.dataset == {
        "name": "gtzan",
        "root": "x",
        "protocol": "all",
    }


def test_a_key_that_dataset_and_sweep_share_is_the_sweeps() -> None:
    assert named("table", "--root", "x.csv", "--split.test", "0.3").sweep.split.test == 0.3


def test_a_shipped_sweep_goes_before_the_dataset_of_the_same_name() -> None:
    assert named("fsdd").sweep.split.test_groups == ("theo", "nicolas")


def test_a_shipped_sweep_of_another_dataset_goes_after_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "esc50.yaml").write_text("dataset: {name: synthetic}")
    monkeypatch.setattr(yaml_file, "SHIPPED_SWEEPS", tmp_path)
    found = named("esc50", "--root", "x")
    assert found.sweep.dataset == {"name": "esc50", "root": "x"}
    assert found.where == "dataset 'esc50'"


def test_given_features_replace_mfcc() -> None:
    assert named("folder", "--root", "x").sweep.features == {"mfcc": None}
    given = named("folder", "--root", "x", "--features.mel.n_mels", "40")
    assert given.sweep.features == {"mel": {"n_mels": 40}}


def test_a_missing_key_of_the_dataset_is_named_in_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_file, "SHIPPED_SWEEPS", tmp_path)
    with pytest.raises(UserError) as caught:
        named("gtzan")
    assert str(caught.value) == (
        "dataset 'gtzan' needs root (folder that contains genres_original or genres, or that "
        "folder itself); type: chorale data leak gtzan --root ROOT"
    )


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("gtzn", "'gtzan' or"),
        ("fsddd", "'fsdd' or"),
        ("dmeo", "'demo'?"),
        ("runs/synthetik.yaml", "'synthetic' or"),
    ],
)
def test_the_error_for_an_unknown_name_suggests_the_nearest(name: str, offered: str) -> None:
    with pytest.raises(UserError) as caught:
        named(name)
    output = str(caught.value)
    assert output.startswith(
        f"there is no sweep file '{name}', and no sweep or dataset of that name"
    )
    assert f"did you mean {offered}" in output
    assert "\n" not in output
    shipped = sorted(path.stem for path in yaml_file.SHIPPED_SWEEPS.glob("*.yaml"))
    assert f"shipped sweeps: {', '.join(shipped)};" in output
    assert "gtzan_features" in output


@pytest.mark.parametrize("args", [[], ["--runs", "x"]])
def test_the_command_needs_a_name(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "leak", *args]) == 2
    assert "(chorale data leak NAME), but got none" in capsys.readouterr().err


def test_help_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "leak", "--help"]) == 0
    assert "usage: chorale data leak" in capsys.readouterr().out


def several_labels() -> tuple[FeatureStore, np.ndarray, np.ndarray]:
    """Labels that no feature depends on, of 18 groups x 4 tracks that sound like their group."""
    rng = np.random.default_rng(0)
    tracks, labels, groups = [], [], []
    for group in range(18):
        of_group = 2 * rng.standard_normal(N_BINS)
        present = (rng.random(3) < 0.4).astype(np.uint8)
        for _ in range(4):
            tracks.append(of_group + rng.standard_normal((90, N_BINS)))
            labels.append(present)
            groups.append(str(group))
    return store_of(tracks), np.array(labels), np.array(groups)


def test_several_labels_are_scored_by_their_map() -> None:
    store, labels, groups = several_labels()
    found = compare_protocols(store, np.arange(72), labels=labels, groups=groups)
    got = accuracies(found)
    assert found.metric == "mAP"
    assert found.chance == pytest.approx(labels.mean())
    assert got["segments shuffled"] > 0.95
    assert got["groups disjoint"] < 0.7
    text = "\n".join(data_leak.protocol_lines(found))
    assert f"mAP at random is {labels.mean():.1%}" in text
    assert "With segments shuffled the mAP would be reported as" in text
    assert "accuracy" not in text


def test_unknown_labels_are_neither_trained_on_nor_scored() -> None:
    store, labels, groups = several_labels()
    whole = compare_protocols(store, np.arange(72), labels=labels, groups=groups)
    hidden = np.random.default_rng(0).random(labels.shape) < 0.4
    some = np.where(hidden, UNKNOWN, labels).astype(np.int8)
    found = compare_protocols(store, np.arange(72), labels=some, groups=groups)
    assert found.chance == pytest.approx(labels[~hidden].mean())
    for one, other in zip(found.scores, whole.scores, strict=True):
        assert one.value == pytest.approx(other.value, abs=0.15)


def test_a_label_of_one_group_is_refused() -> None:
    store, labels, groups = several_labels()
    labels[:, 0] = groups == "3"
    with pytest.raises(UserError, match="has only one group"):
        compare_protocols(store, np.arange(72), labels=labels, groups=groups)
