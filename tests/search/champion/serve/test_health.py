"""Statistics of served answers: in the ring, at `/metrics`, and by `chorale champion health`."""

import json
import signal
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient

from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.health.monitor import HealthMonitor
from chorale.search.champion.health.ring import Answer, RingWriter, read_rings
from chorale.search.champion.registry.registry import Registry
from chorale.search.champion.serve.app import create_app
from chorale.search.cli import main
from chorale.search.paths import ChampionPaths, Runs

Tone = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[tuple[int, "subprocess.Popen[str]"]]]


@pytest.fixture(scope="module")
def champion(served: Predictor, tmp_path_factory: pytest.TempPathFactory) -> ChampionPaths:
    """The registry of a champion `tones`, without statistics."""
    paths = Runs(tmp_path_factory.mktemp("runs")).champion("tones")
    Registry(paths).promote(served.bundle, expected=None, reason="a test")
    return paths


def _health(champion: ChampionPaths, *words: str) -> int:
    return main(["champion", "health", "--runs", str(champion.root.parent.parent), *words])


def test_a_packed_bundle_knows_its_confidence_on_held_out_tracks(served: Predictor) -> None:
    found = served.bundle.manifest.confidence
    assert found is not None
    assert 1 / 3 < found.confidence <= 1
    assert 0 < found.accuracy <= 1
    assert found.n_groups > 1


def test_each_answer_is_in_the_ring_without_audio_or_names(
    served: Predictor, make_tone: Tone, tmp_path: Path, champion: ChampionPaths,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = tmp_path / "health"
    app = create_app(served, health=HealthMonitor(served.bundle, folder))
    with TestClient(app) as client:
        answers = [
            client.post("/predict", files={"file": ("secret-name.wav", make_tone(hz=hz))}).json()
            for hz in (200, 300, 500)
        ]
        assert client.post("/predict", content=b"no audio").status_code == 415
        text = client.get("/metrics").text
    found = read_rings(folder, served.bundle.digest).answers
    expected = [max(one["proba"].values()) for one in answers]
    assert found.confidence == pytest.approx(expected, abs=1e-5)
    assert found.out_of_distribution.tolist() == [one["none_of_these"] for one in answers]
    [ring] = folder.iterdir()
    assert ring.stat().st_size < 200
    assert b"secret" not in ring.read_bytes()
    assert "\nchorale_expected_accuracy 0." in text
    assert "\nchorale_confidence_alarm 0.0" in text

    assert _health(champion, "--health-dir", str(folder)) == 0
    shown = capsys.readouterr().out
    assert "of the last 3 answers are expected to be right (95 % interval" in shown
    assert "reference accuracy" in shown


def test_a_server_process_keeps_its_answers_in_the_folder(
    served_bundle: Path, served: Predictor, make_tone: Tone, serving: Serving, tmp_path: Path
) -> None:
    words = ("--health-dir", str(tmp_path / "health"))
    with serving(served_bundle, *words, end=signal.SIGTERM) as (port, _):
        url = f"http://127.0.0.1:{port}/predict"
        assert httpx2.post(url, content=make_tone(), timeout=60).status_code == 200
        found = read_rings(tmp_path / "health", served.bundle.digest)
        assert len(found.answers) == 1, "at once, and not when the server ends"


def test_an_alarm_is_exit_code_1_and_other_bundles_and_damage_are_named(
    served: Predictor, champion: ChampionPaths, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = RingWriter(champion.health, served.bundle.digest)
    for at in range(3000):
        writer.append(Answer(60.0 * at, 0.0, 0.1, float("nan"), False))
    writer.close()
    other = RingWriter(champion.health, "cd" * 32)
    other.append(Answer(0.0, 0.5, 0.1, float("nan"), False))
    other.close()
    (champion.health / "x.ring").write_bytes(b"?")
    assert _health(champion, "tones") == 1
    shown = capsys.readouterr().out
    assert "ALARM since 1970-01-0" in shown
    assert "1 answers of other bundles" in shown
    assert "1 records, left out" in shown
    assert _health(champion, "--json", "--last", "10") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["expected_accuracy"]["n"] == found["n_recent"] == 10
    assert found["alarm"]["active"]
    assert (found["n_other"], found["n_damaged"]) == (1, 1)


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["--health-dir", "nowhere"], "chorale serve", 1),
        (["--last", "0"], "--last should be a whole number from 1 to 1e+09, but got '0'", 2),
        (["--last", "many"], "--last should be a whole number from 1 to 1e+09, but got 'many'", 2),
        (["other"], "unknown champion", 1),
    ],
)
def test_mistakes_are_one_line(
    champion: ChampionPaths,
    words: list[str],
    message: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _health(champion, *words) == code
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_health_folder_that_cannot_be_written_stops_the_server_at_its_start(
    served_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    words = ["serve", str(served_bundle), "--port", "0"]
    assert main([*words, "--health-dir", str(tmp_path / "file" / "x")]) == 1
    error = capsys.readouterr().err
    assert "give another one with --health-dir FOLDER" in error
    assert len(error.splitlines()) == 1
