"""Shadow answers: of another bundle, for the same recordings, without changing an answer."""

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import httpx2
import numpy as np
import pytest

from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.health.ring import read_rings
from chorale.search.champion.registry.registry import Registry
from chorale.search.champion.serve import shadow
from chorale.search.champion.serve.metrics import Metrics
from chorale.search.champion.serve.shadow import Shadow
from chorale.search.cli import main
from chorale.search.paths import Runs
from tests.search.champion.serve import shadow_processes

Tone = Callable[..., bytes]
Serving = Callable[..., AbstractContextManager[tuple[int, "subprocess.Popen[str]"]]]

HERE = Path("a bundle")
SECOND = np.zeros(shadow_processes.N_SAMPLES, np.float32)


@pytest.fixture
def challenger(served_bundle: Path, tmp_path: Path) -> Path:
    """A bundle of the same networks with another digest."""
    folder = tmp_path / "challenger"
    shutil.copytree(served_bundle, folder)
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["study"] = "another"
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def test_a_server_with_a_shadow_answers_as_without_and_counts_how_often_they_agree(
    served_bundle: Path, served: Predictor, make_tone: Tone, serving: Serving, tmp_path: Path,
    challenger: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = tmp_path / "health"
    words = ("--shadow", str(challenger), "--health-dir", str(folder))
    tones = [make_tone(hz=hz) for hz in (200, 300, 500)]
    with serving(served_bundle, *words, end=signal.SIGTERM) as (port, _):
        url = f"http://127.0.0.1:{port}"
        answers = [httpx2.post(f"{url}/predict", content=one, timeout=60).json() for one in tones]
        text = _metrics_of(url, "chorale_shadow_answers_total", 3)
    digest = Bundle.open(challenger).digest
    assert digest != served.bundle.digest
    own, other = (read_rings(folder, one).answers for one in (served.bundle.digest, digest))
    assert own.confidence == pytest.approx([max(a["proba"].values()) for a in answers], abs=1e-5)
    assert len(other) == 3
    assert 'chorale_shadow_answers_total{same="yes"} 3.0' in text, "they are the same networks"
    assert "chorale_shadow_left_out_total 0.0" in text
    paths = Runs(tmp_path / "runs").champion("tones")
    Registry(paths).promote(served.bundle, expected=None, reason="a test")
    options = ["--health-dir", str(folder), "--bundle", str(challenger), "--json"]
    assert main(["champion", "health", "--runs", str(tmp_path / "runs"), *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["bundle"], found["n_answers"], found["n_other"]) == (digest, 3, 3)


def test_a_shadow_of_other_classes_stops_the_server_at_its_start(
    served_bundle: Path, challenger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((challenger / "bundle.json").read_text())
    several = {"task": "multi_label", "thresholds": dict.fromkeys(manifest["labels"], 0.5)}
    for values, error in (
        ({"labels": ["x", "y", "z"]}, "has no label in common with the served bundle"),
        (several, "is for the task 'multi_label', but the served bundle is for"),
    ):
        (challenger / "bundle.json").write_text(json.dumps(manifest | values))
        assert main(["serve", str(served_bundle), "--port", "0", "--shadow", str(challenger)]) == 1
        found = capsys.readouterr().err
        assert error in found
        assert len(found.splitlines()) == 1


def test_recordings_beyond_the_limits_are_left_out_and_submitting_never_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _shadow(monkeypatch, shadow_processes.hanging) as (made, metrics):
        for _ in range(shadow.MAX_WAITING):
            made.submit(SECOND, 8000, ["a"])
        made.submit(SECOND, 8000, ["a"])  # the 9th
        assert _value(metrics, "chorale_shadow_left_out_total") == 1
    with _shadow(monkeypatch, shadow_processes.hanging) as (made, metrics):
        monkeypatch.setattr(shadow, "MAX_WAITING_BYTES", 2 * SECOND.nbytes)
        made.submit(SECOND, 8000, ["a"])
        made.submit(np.concatenate([SECOND, SECOND]), 8000, ["a"])
        assert _value(metrics, "chorale_shadow_left_out_total") == 1


def test_a_process_that_crashes_is_started_again_and_then_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with _shadow(monkeypatch, shadow_processes.crashing) as (made, metrics):
        for n in range(1, shadow.MAX_CRASHES + 1):
            made.submit(SECOND, 8000, ["a"])
            _wait(partial(_has_left_out, metrics, n))
        _wait(lambda: "failed 3 times in a row" in caplog.text)
        made.submit(SECOND, 8000, ["a"])
        assert _value(metrics, "chorale_shadow_left_out_total") == shadow.MAX_CRASHES + 1


def test_a_recording_that_the_other_bundle_cannot_predict_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with _shadow(monkeypatch, shadow_processes.refusing) as (made, metrics):
        made.submit(SECOND, 8000, ["a"])
        made.submit(SECOND, 8000, ["b"])
        _wait(lambda: 'chorale_shadow_answers_total{same="no"} 1.0' in metrics.text().decode())
        assert _value(metrics, "chorale_shadow_left_out_total") == 1
    assert "no shadow answer: ValueError: too short" in caplog.text


@contextmanager
def _shadow(
    monkeypatch: pytest.MonkeyPatch, process: Callable[..., None]
) -> Iterator[tuple[Shadow, Metrics]]:
    """A shadow whose process runs another function."""
    monkeypatch.setattr(shadow, "answer_again", process)
    metrics = Metrics(bundle="0", study="s")
    made = Shadow(HERE, None, metrics)
    try:
        yield made, metrics
    finally:
        made.close()
        assert "shadow" not in {thread.name for thread in threading.enumerate()}


def _has_left_out(metrics: Metrics, n: int) -> bool:
    return _value(metrics, "chorale_shadow_left_out_total") == n


def _value(metrics: Metrics, name: str) -> float:
    lines = metrics.text().decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def _metrics_of(url: str, name: str, total: float) -> str:
    """The metrics of a server, once the values of one add up to a total."""
    text = ""

    def is_there() -> bool:
        nonlocal text
        text = httpx2.get(f"{url}/metrics", timeout=60).text
        lines = [line for line in text.splitlines() if line.startswith(name)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines) == total

    _wait(is_there)
    return text


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
