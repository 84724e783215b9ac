"""TensorBoard events of finalists: confusion matrices, and embeddings for the projector."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from scipy.spatial.distance import pdist
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from chorale.datasets.splitting.split import Split
from chorale.search.evaluation.members import FittedEnsemble, Member, fit_ensemble
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.paths import StudyPaths, TensorBoardPaths
from chorale.search.report import tensorboard_finalists
from chorale.search.report.confusion_image import confusion_image
from chorale.search.report.projector import MAX_POINTS, MAX_WIDTH, align_embeddings, write_projector
from chorale.search.report.tensorboard_finalists import (
    CONFUSION_TAG,
    MAX_FINALISTS_SHOWN,
    write_finalist_events,
)

N, N_CLASSES, WIDTH = 60, 3, 5
NAMES = ("acid\tjazz", "drum & bass\nlive", "schlager")


def truth() -> GroundTruth:
    """45 development tracks in three folds, 15 test tracks."""
    ids = [f"t{i:02d}" for i in range(N)]
    split = Split(tuple(ids[45:]), {t: i % 3 for i, t in enumerate(ids[:45])}, "", 3, 0)
    labels = {t: i // 3 % N_CLASSES for i, t in enumerate(ids)}
    return GroundTruth(NAMES, split, labels, {t: f"g{i // 3}" for i, t in enumerate(ids)})


def member(number: int, *, embedded: bool = True) -> Member:
    rng = np.random.default_rng(number)
    proba = rng.dirichlet(np.ones(N_CLASSES), size=N).astype(np.float32)
    embeddings = (rng.normal(size=(45, WIDTH)).astype(np.float32),) if embedded else ()
    tests = (rng.normal(size=(15, WIDTH)).astype(np.float32),) if embedded else ()
    return Member(number, proba[:15], proba[:45], proba[45:], "cnn", embeddings, tests)


def ensemble(members: list[Member]) -> FittedEnsemble:
    return fit_ensemble("soft_vote", members, truth(), seed=0)


def images(folder: Path) -> list[Any]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return list(events.Images(CONFUSION_TAG))


def test_each_finalist_and_the_ensemble_has_its_confusion_matrix(tmp_path: Path) -> None:
    members = [member(4), member(11, embedded=False)]
    write_finalist_events(StudyPaths(tmp_path), truth(), members, ensemble(members), seed=0)
    for folder in ("finalists/0004", "finalists/0011", "ensembles"):
        (event,) = images(tmp_path / folder)
        image = Image.open(io.BytesIO(event.encoded_image_string))
        assert image.size == (event.width, event.height)
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_images_written_again_replace_earlier_ones(tmp_path: Path) -> None:
    members = [member(4)]
    for _ in range(2):
        write_finalist_events(StudyPaths(tmp_path), truth(), members, ensemble(members), seed=0)
    assert len(images(tmp_path / "finalists/0004")) == 1
    assert len(StudyPaths(tmp_path).ensemble_tensorboard.all_events()) == 1


def test_the_projector_reads_the_files_which_hold_development_tracks_only(tmp_path: Path) -> None:
    members = [member(4), member(11, embedded=False)]
    write_finalist_events(StudyPaths(tmp_path), truth(), members, ensemble(members), seed=0)
    board = StudyPaths(tmp_path).finalist_tensorboard(4)
    config = text_format.Parse(board.projector_config.read_text(), ProjectorConfig())
    (one,) = config.embeddings
    assert one.tensor_name == "trial 4 (cnn)"
    assert list(one.tensor_shape) == [45, WIDTH]
    assert np.loadtxt(board.root / one.tensor_path, delimiter="\t").shape == (45, WIDTH)
    lines = (board.root / one.metadata_path).read_text().splitlines()
    header, *cells = (line.split("\t") for line in lines)
    assert header == ["label", "predicted", "right", "group", "fold", "track"]
    assert len(cells) == 45
    assert {len(line) for line in cells} == {6}, "tabs and newlines in names do not shift cells"
    assert {line[0] for line in cells} == {"acid jazz", "drum & bass live", "schlager"}
    assert [line[5] for line in cells] == list(truth().split.development_ids)
    assert not StudyPaths(tmp_path).finalist_tensorboard(11).tensors.exists()


def test_the_number_of_finalists_with_events_is_limited(tmp_path: Path) -> None:
    members = [member(number) for number in range(MAX_FINALISTS_SHOWN + 2)]
    write_finalist_events(StudyPaths(tmp_path), truth(), members, ensemble(members), seed=0)
    assert len(list((tmp_path / "finalists").iterdir())) == MAX_FINALISTS_SHOWN


def transformed(points: np.ndarray, seed: int) -> np.ndarray:
    """The same points, randomly rotated, scaled and translated."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(points.shape[1], points.shape[1])))
    return np.asarray(points @ axes * rng.uniform(0.5, 2) + rng.normal(size=points.shape[1]))


def test_equal_folds_in_different_coordinate_systems_are_aligned_exactly() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(6), 10)
    points = 5 * np.eye(6)[labels] @ rng.normal(size=(6, 4)) + rng.normal(size=(60, 4))
    spaces = np.repeat(np.arange(3), 60)
    embeddings = np.concatenate([transformed(points, seed) for seed in range(3)])
    aligned = align_embeddings(embeddings, spaces, np.tile(labels, 3)).reshape(3, 60, 4)
    np.testing.assert_allclose(aligned[1], aligned[0], atol=1e-6)
    np.testing.assert_allclose(aligned[2], aligned[0], atol=1e-6)


def test_folds_of_tracks_with_several_labels_are_aligned_by_them() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (60, 6), np.uint8)
    points = labels @ rng.normal(size=(6, 4)) + rng.normal(size=(60, 4))
    spaces = np.repeat(np.arange(3), 60)
    embeddings = np.concatenate([transformed(points, seed) for seed in range(3)])
    aligned = align_embeddings(embeddings, spaces, np.tile(labels, (3, 1))).reshape(3, 60, 4)
    np.testing.assert_allclose(aligned[1], aligned[0], atol=1e-6)
    np.testing.assert_allclose(aligned[2], aligned[0], atol=1e-6)


def test_alignment_preserves_ratios_of_distances_within_a_fold() -> None:
    rng = np.random.default_rng(0)
    embeddings, spaces = rng.normal(size=(40, 7)), np.arange(40) % 2
    aligned = align_embeddings(embeddings, spaces, np.arange(40) // 2 % 4)
    for space in (0, 1):
        before, after = (
            np.linalg.norm(points[:, None] - points[None], axis=2)
            for points in (embeddings[spaces == space], aligned[spaces == space])
        )
        far = ~np.eye(len(before), dtype=bool)
        ratio = after[far] / before[far]
        np.testing.assert_allclose(ratio, ratio[0])


@pytest.mark.parametrize("case", ["one fold", "a class in one fold only", "all the same"])
def test_degenerate_embeddings_give_finite_coordinates(case: str) -> None:
    rng = np.random.default_rng(0)
    embeddings, spaces, labels = rng.normal(size=(12, 3)), np.arange(12) % 2, np.arange(12) // 2 % 3
    if case == "one fold":
        spaces = np.zeros(12, dtype=np.int64)
    elif case == "a class in one fold only":
        labels = spaces.copy()
    else:
        embeddings = np.ones((12, 3))
    assert np.isfinite(align_embeddings(embeddings, spaces, labels)).all()


def test_very_many_tracks_are_subsampled(tmp_path: Path) -> None:
    n = 3 * MAX_POINTS
    labels = np.arange(n) % 2
    write_projector(
        TensorBoardPaths(tmp_path), np.ones((n, 1)), labels, labels,
        {"track": list(map(str, labels)), "at": [str(i) for i in range(n)]}, name="many",
    )  # fmt: skip
    lines = (tmp_path / "metadata.tsv").read_text().splitlines()
    assert len(lines) == 1 + MAX_POINTS
    assert (lines[1].split("\t")[1], lines[-1].split("\t")[1]) == ("0", str(n - 1))


def test_a_row_of_the_matrix_is_coloured_by_its_shares() -> None:
    counts = np.array([[30, 10], [0, 0]])
    image = Image.open(io.BytesIO(confusion_image(counts, ("a", "b"), title="")))
    found = image.getcolors(image.width * image.height)
    assert found is not None
    large = sorted((colour for n, colour in found if n > 1000), key=str)
    assert len(large) == 3, "75 %, 25 %, and white for empty cells"
    assert (255, 255, 255) in large


@pytest.mark.parametrize("n", [1, 2, 30, 161])
def test_any_number_of_classes_gives_an_image_of_bounded_size(n: int) -> None:
    names = [f"a class with a name that is far too long {i} å€" for i in range(n)]
    image = Image.open(io.BytesIO(confusion_image(np.eye(n, dtype=np.int64), names, title="x")))
    assert max(image.size) < 2000


def test_a_wrong_number_of_names_is_refused() -> None:
    with pytest.raises(ValueError, match="1 names do not fit"):
        confusion_image(np.zeros((2, 2), np.int64), ["a"], title="")


def test_unknown_labels_are_neither_counted_nor_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = truth()
    names = ("bass", "drums", "piano")
    labels = {track: (number % 2,) for number, track in enumerate(one.label_of)}
    unknown = dict.fromkeys(one.label_of, (2,))
    several = GroundTruth(names, one.split, labels, one.group_of, (), unknown)
    titles: list[str] = []

    def image(*args: Any, title: str, **more: Any) -> bytes:
        titles.append(title)
        return confusion_image(*args, title=title, **more)

    monkeypatch.setattr(tensorboard_finalists, "confusion_image", image)
    write_finalist_events(StudyPaths(tmp_path), several, [member(4)], ensemble([member(4)]), seed=0)
    assert [title.split(" of ")[-1] for title in titles] == ["45 labels found"] * 2
    rows = (tmp_path / "finalists" / "0004").rglob("*.tsv")
    (text,) = [path.read_text() for path in rows if "predicted" in path.read_text()]
    assert "bass" in text
    assert "piano" not in text


def test_wide_embeddings_are_reduced_and_still_aligned() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 6
    points = rng.standard_normal((6, 40))[labels] + 0.1 * rng.standard_normal((60, 40))
    rotations = [np.linalg.qr(rng.standard_normal((700, 40)))[0] for _ in range(3)]
    embeddings = np.concatenate([points @ one.T for one in rotations])
    spaces = np.repeat(np.arange(3), 60)
    aligned = align_embeddings(embeddings, spaces, np.tile(labels, 3))
    assert aligned.shape == (180, MAX_WIDTH)
    for space, moved in enumerate(aligned.reshape(3, 60, -1)):
        before, after = pdist(embeddings[spaces == space]), pdist(moved)
        np.testing.assert_allclose(after / after.mean(), before / before.mean(), rtol=1e-6)
    first, *others = aligned.reshape(3, 60, -1)
    for other in others:
        assert np.linalg.norm(first - other) < 0.2 * np.linalg.norm(first)


def test_of_more_tracks_than_make_the_basis_the_main_components_are_kept() -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((2_000, 30)) @ rng.standard_normal((30, 600))
    points += 0.01 * rng.standard_normal(points.shape)
    aligned = align_embeddings(points, np.zeros(2_000, int), np.zeros(2_000, int))
    before, after = pdist(points[::20]), pdist(aligned[::20])
    np.testing.assert_allclose(after / after.mean(), before / before.mean(), rtol=1e-3)
