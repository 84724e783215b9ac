"""Serving a bundle whose recordings have several labels: answers, metrics, and the page."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.serve.app import create_app
from tests.search.champion.serve.browser import Browser, running

Tone = Callable[..., bytes]
THRESHOLDS = {"blues": 0.001, "jazz": 0.002, "metal": 0.999}
"""An untrained network predicts the first two labels of any sound, and never the last."""


@pytest.fixture(scope="module")
def folder(make_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("several") / "bundle"
    members: list[Any] = [("cnn", "mel", {"n_layers": 2, "width": 16}, {})]
    return Path(make_bundle(to, members, thresholds=THRESHOLDS))


@pytest.fixture(scope="module")
def several(folder: Path) -> Predictor:
    return Predictor(Bundle.open(folder))


@pytest.fixture(scope="module")
def client(several: Predictor) -> Iterator[TestClient]:
    with TestClient(create_app(several)) as client:
        yield client


def test_the_answer_has_the_labels_that_reach_their_thresholds(
    client: TestClient, make_tone: Tone
) -> None:
    url = "/predict?timeline=true&segment_s=1"
    answer = client.post(url, content=make_tone(3.0)).json()
    assert sorted(one["label"] for one in answer["labels"]) == ["blues", "jazz"]
    shown = [one["proba"] for one in answer["labels"]]
    assert shown == sorted(shown, reverse=True)
    assert list(answer["proba"]) == list(THRESHOLDS)
    assert all(answer["proba"][one["label"]] == one["proba"] for one in answer["labels"])
    assert [len(one["labels"]) for one in answer["timeline"]] == [2, 2, 2]
    assert "label" not in answer


def test_a_recording_without_any_label_is_an_answer(make_bundle: Any, tmp_path: Path,
                                                    make_tone: Tone) -> None:  # fmt: skip
    members: list[Any] = [("cnn", "mel", {"n_layers": 2, "width": 16}, {})]
    bundle = make_bundle(tmp_path / "b", members, thresholds=dict.fromkeys(THRESHOLDS, 1.0))
    with TestClient(create_app(Predictor(Bundle.open(bundle)))) as client:
        answer = client.post("/predict", content=make_tone())
        assert (answer.status_code, answer.json()["labels"]) == (200, [])
        assert "chorale_labels_total{" not in client.get("/metrics").text


def test_metrics_count_every_predicted_label(client: TestClient, make_tone: Tone) -> None:
    def counted(label: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        name = f'chorale_labels_total{{label="{label}"}} '
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = {name: counted(name) for name in THRESHOLDS}
    assert client.post("/predict", content=make_tone()).status_code == 200
    after = {name: counted(name) - before[name] for name in THRESHOLDS}
    assert after == {"blues": 1, "jazz": 1, "metal": 0}


def test_about_names_the_task_and_the_thresholds(client: TestClient) -> None:
    about = client.get("/about").json()
    assert (about["task"], about["thresholds"]) == ("multi_label", THRESHOLDS)


def test_the_page_shows_all_labels_with_their_thresholds(
    several: Predictor, program: Browser, make_tone: Tone, tmp_path: Path
) -> None:
    recording = tmp_path / "a song.wav"
    recording.write_bytes(make_tone(9.0))
    data = {"items": [], "files": [str(recording)], "dragOperationsMask": 1}
    with running(create_app(several)) as site:
        program.new_page()
        program.open(site)
        for kind in ("dragEnter", "dragOver", "drop"):
            program.call("Input.dispatchDragEvent", type=kind, x=400, y=300, data=data)
        program.until("!document.getElementById('result').hidden")

        def text(name: str) -> str:
            return str(program.evaluate(f"document.getElementById('{name}').textContent"))

        assert sorted(text("genre").split(", ")) == ["blues", "jazz"]
        assert text("state") == f"a song.wav has {text('genre')}."
        rows = program.evaluate(
            "[...document.querySelectorAll('#bars li')].map((row) => [row.querySelector('.what')"
            ".textContent, row.classList.contains('predicted'),"
            " row.querySelector('.threshold').style.left])"
        )
        assert sorted(rows) == [
            ["blues", True, "0.1%"], ["jazz", True, "0.2%"], ["metal", False, "99.9%"],
        ]  # fmt: skip
        lanes = (
            "[...document.querySelectorAll('#timeline button')].map((one) => one.children.length)"
        )
        assert program.evaluate(lanes) == [2, 2, 2]
        filled = (
            "document.querySelectorAll('#timeline .lane.kind-0, #timeline .lane.kind-1').length"
        )
        assert program.evaluate(filled) == 6
        for width in (1400, 390):
            program.screenshot(width=width, dark=False, to=tmp_path / f"{width}.png")
            assert program.evaluate("document.documentElement.scrollWidth") <= width
        assert program.console_messages() == []
