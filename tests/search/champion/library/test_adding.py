"""Adding files to a library: incremental updates, crash safety, and refusal of damaged ones."""

import fcntl
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path, PurePath

import numpy as np
import pytest
import soundfile

from chorale.datasets.audio import AudioError
from chorale.datasets.errors import UserError
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.library import adding
from chorale.search.champion.library.adding import AddResult, add
from chorale.search.champion.library.library import Library
from chorale.search.champion.library.track import title_and_artist
from chorale.search.paths import LibraryPaths

Tone = Callable[..., Path]
Bundles = tuple[Path, Path]


class Recorder:
    """Records the calls, and interrupts after `stop_after` embedded files."""

    def __init__(self, *, stop_after: int = 10**9) -> None:
        self.steps: list[tuple[str, int]] = []
        self.problems: list[str] = []
        self.n_embedded = 0
        self._stop_after = stop_after

    def begin(self, what: str, n: int) -> None:
        self.steps.append((what, n))

    def advance(self) -> None:
        self.n_embedded += self.steps[-1][0] == "embedding"
        if self.n_embedded >= self._stop_after:
            raise KeyboardInterrupt

    def bad(self, error: AudioError) -> None:
        self.problems.append(error.problem)


@pytest.fixture
def predictor(bundles: Bundles) -> Predictor:
    return Predictor(Bundle.open(bundles[0]))


def added(
    root: Path, to: Path, predictor: Predictor, *, recorder: Recorder | None = None
) -> AddResult:
    files = sorted(root.rglob("*.wav"))
    return add(LibraryPaths(to), predictor, files, root=root, listener=recorder or Recorder())


def test_a_library_has_the_predictor_s_embeddings_and_probabilities(
    music: Path, tmp_path: Path, predictor: Predictor
) -> None:
    assert added(music, tmp_path / "l", predictor) == AddResult(n_new=12, n_all=12)
    library = Library.open(tmp_path / "l")
    track = library.content.tracks[5]
    expected = predictor.predict_file(track.path)
    assert library.content.embeddings[5] == pytest.approx(expected.embedding, abs=1e-6)
    assert library.content.proba[5] == pytest.approx(expected.proba, abs=1e-6)
    assert track.genre == predictor.labels[expected.best]
    assert track.duration_s == pytest.approx(0.5)
    assert track.artist == Path(track.path).parent.name
    nearest = library.similar(expected.embedding, 3)
    assert len(nearest) == 3
    assert nearest[0]["track"] == track.title
    assert nearest[0]["similarity"] == pytest.approx(1, abs=1e-4)
    assert nearest[0]["similarity"] >= nearest[1]["similarity"] >= nearest[2]["similarity"]


def test_only_new_and_changed_files_are_embedded(
    music: Path, tmp_path: Path, predictor: Predictor, tone: Tone
) -> None:
    to = tmp_path / "l"
    added(music, to, predictor)
    before = (to / "library.json").read_bytes()
    assert added(music, to, predictor) == AddResult(n_known=12, n_all=12)
    assert (to / "library.json").read_bytes() == before
    changed = tone(music / "artist0" / "00.wav", hz=1777)
    (music / "artist1" / "01.wav").rename(music / "elsewhere.wav")
    shutil.copy(music / "artist2" / "02.wav", music / "copy.wav")
    tone(music / "new.wav", hz=1999)
    recorder = Recorder()
    found = added(music, to, predictor, recorder=recorder)
    assert found == AddResult(
        n_new=2, n_known=10, n_moved=1, n_replaced=1, n_duplicates=1, n_bad=0, n_all=13
    )
    assert recorder.steps[-1] == ("embedding", 2)
    library = Library.open(to)
    assert str(music / "elsewhere.wav") in library.by_path
    assert str(music / "artist1" / "01.wav") not in library.by_path
    row = library.by_path[str(changed)]
    assert library.content.embeddings[row] == pytest.approx(
        predictor.predict_file(changed).embedding, abs=1e-6
    )
    assert len(list(to.glob("tracks-*"))) == 1


@pytest.mark.parametrize("n_embedded", [1, 7, 11])
def test_files_embedded_before_an_interruption_are_kept(
    music: Path,
    tmp_path: Path,
    predictor: Predictor,
    monkeypatch: pytest.MonkeyPatch,
    n_embedded: int,
) -> None:
    monkeypatch.setattr(adding, "PART_SIZE", 3)
    to = tmp_path / "l"
    with pytest.raises(KeyboardInterrupt):
        added(music, to, predictor, recorder=Recorder(stop_after=n_embedded))
    assert len(Library.open(to).content.tracks) == n_embedded
    recorder = Recorder()
    assert added(music, to, predictor, recorder=recorder).n_all == 12
    assert recorder.steps[-1] == ("embedding", 12 - n_embedded)
    library = Library.open(to)
    assert len(library.manifest.parts) == 1
    assert len(library.by_content) == 12


def test_a_killed_process_loses_no_more_than_a_part(
    music: Path, tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adding, "PART_SIZE", 3)
    to, copy = tmp_path / "l", tmp_path / "as killed"

    class Copying(Recorder):
        def advance(self) -> None:
            super().advance()
            if self.n_embedded == 8:  # the files that a power cut would leave
                shutil.copytree(to, copy)

    added(music, to, predictor, recorder=Copying())
    assert len(Library.open(copy).content.tracks) == 6
    assert added(music, copy, predictor).n_new == 6


def test_unreadable_files_are_reported_and_the_rest_is_added(
    music: Path, tmp_path: Path, predictor: Predictor
) -> None:
    (music / "zero.wav").write_bytes(b"")
    (music / "text.wav").write_text("not audio")
    recorder = Recorder()
    found = added(music, tmp_path / "l", predictor, recorder=recorder)
    assert (found.n_new, found.n_bad) == (12, 2)
    assert sorted(recorder.problems) == ["empty", "undecodable"]


def test_a_library_of_another_bundle_is_refused(
    music: Path, tmp_path: Path, predictor: Predictor, bundles: Bundles
) -> None:
    added(music, tmp_path / "l", predictor)
    other = Predictor(Bundle.open(bundles[1]))
    with pytest.raises(UserError, match=r"made with bundle .* but got .* --to LIBRARY"):
        added(music, tmp_path / "l", other)


def test_a_second_process_is_refused_in_one_line(
    music: Path, tmp_path: Path, predictor: Predictor
) -> None:
    paths = LibraryPaths(tmp_path / "l")
    paths.root.mkdir()
    with paths.lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(
            UserError, match=r"is being added to by another process; wait"
        ) as caught:
            added(music, paths.root, predictor)
    assert len(str(caught.value).splitlines()) == 1
    assert not paths.manifest.exists()


@pytest.mark.parametrize("which", ["tracks-*", "vectors-*"])
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_changed_or_missing_file_is_refused(
    music: Path, tmp_path: Path, predictor: Predictor, which: str, how: str
) -> None:
    added(music, tmp_path / "l", predictor)
    [path] = (tmp_path / "l").glob(which)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink() if how == "missing" else path.write_bytes(content)
    error = "is missing" if how == "missing" else "is not the file that the manifest"
    with pytest.raises(UserError, match=error):
        Library.open(tmp_path / "l")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (json.dumps({"version": 2}), "version=2, but this Chorale reads 1"),
        ("{", "library.json cannot be read"),
        (json.dumps({"version": 1, "bundle": "x"}), "is missing"),
    ],
)
def test_an_invalid_manifest_is_refused(tmp_path: Path, text: str, error: str) -> None:
    (tmp_path / "library.json").write_text(text)
    with pytest.raises(UserError, match=error):
        Library.open(tmp_path)


def test_a_missing_library_and_a_folder_of_other_files_are_refused(
    music: Path, tmp_path: Path, predictor: Predictor
) -> None:
    with pytest.raises(UserError, match=r"there is no library .* chorale library add"):
        Library.open(tmp_path / "nowhere")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and is not a library"):
        added(music, tmp_path / "precious", predictor)


@pytest.mark.parametrize(
    ("below", "tags", "expected"),
    [
        ("x.wav", {"title": "T", "artist": " A\nB "}, ("T", "A B")),
        ("Miles/Blue/So What.flac", {}, ("So What", "Miles")),
        ("JAZZ/Miles/So What.flac", {}, ("So What", "Miles")),
        ("jazz/Miles - So What.mp3", {}, ("So What", "Miles")),
        ("jazz/x.mp3", {"title": "T"}, ("T", "")),
        ("x - .mp3", {}, ("x - ", "")),
    ],
)
def test_names_come_from_tags_then_folders_then_the_files_name(
    below: str, tags: dict[str, str], expected: tuple[str, str]
) -> None:
    assert title_and_artist(PurePath(below), tags, labels=("jazz", "rock")) == expected


def test_a_regular_expression_names_the_artist() -> None:
    pattern = re.compile(r"_(?P<artist>[a-z]+)_")
    named = title_and_artist(PurePath("a/3_theo_1.wav"), {"artist": "X"}, labels=(), artist=pattern)
    assert named == ("3_theo_1", "theo")


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_tags_are_read(tmp_path: Path, ending: str) -> None:
    from chorale.datasets import audio

    path = tmp_path / f"t.{ending}"
    with soundfile.SoundFile(path, "w", 16_000, 1) as file:
        file.title, file.artist = "Título", "Quién"
        file.write(np.zeros(16_000))
    found = audio.read_tags(path)
    assert (found["title"], found["artist"]) == ("Título", "Quién")
