"""`chorale serve --library`: similar tracks in every answer, or a refusal at the start."""

from pathlib import Path

import pytest

from chorale.search.champion.serve.factory import AppFactory
from chorale.search.champion.serve.limits import RequestLimits
from chorale.search.cli import main

Bundles = tuple[Path, Path]


@pytest.fixture
def library(music: Path, bundles: Bundles, tmp_path: Path) -> Path:
    words = ["library", "add", str(music), "--bundle", str(bundles[0])]
    assert main([*words, "--to", str(tmp_path / "l")]) == 0
    return tmp_path / "l"


def test_the_three_most_similar_tracks_are_named(
    music: Path, bundles: Bundles, library: Path
) -> None:
    client = pytest.importorskip("fastapi.testclient", reason="fastapi is not installed")
    app = AppFactory(bundles[0], RequestLimits(), library=library)()
    path = music / "artist1" / "04.wav"
    with client.TestClient(app) as http:
        assert http.get("/about").json()["has_library"]
        similar = http.post("/predict", content=path.read_bytes()).json()["similar"]
    assert len(similar) == 3
    assert similar[0]["track"] == "04"
    assert similar[0]["artist"] == "artist1"
    assert similar[0]["similarity"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("which", "place", "error"),
    [(1, "l", "was made with bundle"), (0, "none", "there is no library")],
)
def test_a_library_of_another_bundle_and_a_missing_one_are_refused_at_the_start(
    bundles: Bundles,
    library: Path,
    capsys: pytest.CaptureFixture[str],
    which: int,
    place: str,
    error: str,
) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is not installed")
    folder = library.parent / place
    capsys.readouterr()
    words = ["serve", str(bundles[which]), "--port", "0", "--library", str(folder)]
    assert main(words) == 1
    err = capsys.readouterr().err
    assert error in err
    assert len(err.splitlines()) == 1
