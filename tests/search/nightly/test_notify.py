"""People are told of a night; what cannot be delivered is said, and no secret with it."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from chorale.search.nightly.config import Nightly, load
from chorale.search.nightly.notify import message, notify
from chorale.search.nightly.records import Night


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A server on this machine: its address, and what it was sent."""
    heard: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path == "/broken" else 200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    server.server_close()


def test_a_webhook_is_sent_the_verdict_three_numbers_and_a_link(
    nightly: Nightly,
    recorded: Callable[..., Night],
    hook: tuple[str, list[dict[str, object]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, heard = hook
    monkeypatch.setenv("MY_HOOK", url)
    mine = load(
        nightly.file, {"notify.webhook": "${MY_HOOK}/secret", "notify.link": "http://host/runs/"}
    )
    assert notify(mine, recorded(2, "KEPT")) == ["webhook at 127.0.0.1: told"]
    [told] = heard
    assert told["verdict"] == "KEPT"
    assert (told["candidate_accuracy"], told["champion_accuracy"], told["difference"]) == (
        0.8, 0.8, 0.0,
    )  # fmt: skip
    assert told["link"] == "http://host/runs/nightly/tiny/nights/2026-11-02/report.html"
    assert "KEPT" in str(told["text"])


@pytest.mark.parametrize(
    ("path", "said"),
    [("/broken", "not told: it answered 500"), (None, "not told: ConnectionRefusedError")],
)
def test_a_webhook_that_fails_is_said_without_its_secret(
    nightly: Nightly,
    recorded: Callable[..., Night],
    hook: tuple[str, list[dict[str, object]]],
    path: str | None,
    said: str,
) -> None:
    url = hook[0] + path if path else "http://127.0.0.1:1/secret"
    mine = load(nightly.file, {"notify.webhook": url})
    [line] = notify(mine, recorded(2, "KEPT"))
    assert said in line
    assert "secret" not in line


def test_apprise_tells_its_services(
    nightly: Nightly,
    recorded: Callable[..., Night],
    hook: tuple[str, list[dict[str, object]]],
) -> None:
    url, heard = hook
    mine = load(nightly.file, {"notify.urls": [url.replace("http://", "json://")]})
    assert notify(mine, recorded(2, "INCONCLUSIVE")) == ["apprise: told 1"]
    assert "INCONCLUSIVE" in str(heard[0]["title"])


def test_a_night_without_figures_can_be_told_of(
    nightly: Nightly, recorded: Callable[..., Night]
) -> None:
    from dataclasses import replace

    night = replace(recorded(2, "KEPT"), state="refused", figures={}, reason="labels moved")
    told = message(nightly, night)
    assert (told["verdict"], told["exit_code"], told["difference"]) == ("REFUSED", 20, None)
    assert str(told["body"]).startswith("labels moved\n/")
