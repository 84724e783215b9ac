"""Notifications: what is sent, and that failures are reported without secrets."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from chorale.search.nightly.config import Nightly, load_nightly
from chorale.search.nightly.notify import notification, notify
from chorale.search.nightly.records import Night


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A local server: its address, and the JSON bodies that it received."""
    received: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path == "/broken" else 200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_a_webhook_gets_the_verdict_three_numbers_and_a_link(
    nightly: Nightly,
    recorded: Callable[..., Night],
    hook: tuple[str, list[dict[str, object]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, received = hook
    monkeypatch.setenv("MY_HOOK", url)
    mine = load_nightly(
        nightly.file, {"notify.webhook": "${MY_HOOK}/secret", "notify.link": "http://host/runs/"}
    )
    assert notify(mine, recorded(2, "KEPT")) == ["webhook at 127.0.0.1: sent"]
    [content] = received
    assert content["verdict"] == "KEPT"
    assert (content["candidate_accuracy"], content["champion_accuracy"], content["difference"]) == (
        0.8, 0.8, 0.0,
    )  # fmt: skip
    assert content["link"] == "http://host/runs/nightly/tiny/nights/2026-11-02/report.html"
    assert "KEPT" in str(content["text"])


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/broken", "not sent: it answered 500"), (None, "not sent: ConnectionRefusedError")],
)
def test_a_failed_webhook_is_reported_without_its_secret(
    nightly: Nightly,
    recorded: Callable[..., Night],
    hook: tuple[str, list[dict[str, object]]],
    path: str | None,
    expected: str,
) -> None:
    url = hook[0] + path if path else "http://127.0.0.1:1/secret"
    mine = load_nightly(nightly.file, {"notify.webhook": url})
    [line] = notify(mine, recorded(2, "KEPT"))
    assert expected in line
    assert "secret" not in line


def test_apprise_notifies_its_services(
    nightly: Nightly,
    recorded: Callable[..., Night],
    hook: tuple[str, list[dict[str, object]]],
) -> None:
    url, received = hook
    mine = load_nightly(nightly.file, {"notify.urls": [url.replace("http://", "json://")]})
    assert notify(mine, recorded(2, "INCONCLUSIVE")) == ["apprise: sent to 1"]
    assert "INCONCLUSIVE" in str(received[0]["title"])


def test_a_night_without_figures_has_a_notification(
    nightly: Nightly, recorded: Callable[..., Night]
) -> None:
    from dataclasses import replace

    night = replace(recorded(2, "KEPT"), state="refused", figures={}, reason="labels moved")
    content = notification(nightly, night)
    assert (content["verdict"], content["exit_code"], content["difference"]) == (
        "REFUSED",
        20,
        None,
    )
    assert str(content["body"]).startswith("labels moved\n/")
