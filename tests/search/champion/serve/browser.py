"""A headless browser for tests of the page, and the app in a thread.

The browser is driven over its DevTools pipe, so no other package is needed.
Source: Chrome DevTools Protocol, 2026, https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

WAIT_S = 150.0
"""A browser without a sound card may look for one for a minute before it records."""
N_STEPS = 12
"""More than the number of Tab stops before there is a result."""


class Browser:
    """A headless browser with one page at a time."""

    def __init__(self, program: str, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        flags = (
            "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
            "disable-background-networking", "disable-component-update", "disable-sync",
            "hide-scrollbars", "use-fake-ui-for-media-stream", "use-fake-device-for-media-stream",
            "autoplay-policy=no-user-gesture-required", "remote-debugging-pipe",
        )  # fmt: skip
        words = [program, *(f"--{flag}" for flag in flags), f"--user-data-dir={profile}"]

        def connect() -> None:  # it reads commands from file 3, and writes answers to file 4
            os.dup2(theirs_in, 10)
            os.dup2(theirs_out, 11)
            os.dup2(10, 3)
            os.dup2(11, 4)

        self.process = subprocess.Popen(
            [*words, "about:blank"], pass_fds=(3, 4), preexec_fn=connect,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._n, self._rest, self._session, self._target = 0, b"", "", ""
        self.events: list[dict[str, Any]] = []

    def new_page(self) -> None:
        """Replaces the page by a new one, and forgets the events of the old one."""
        old, self._session = self._target, ""
        self._target = self.call("Target.createTarget", url="about:blank")["targetId"]
        if old:
            self.call("Target.closeTarget", targetId=old)
        attached = self.call("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.call(f"{domain}.enable")
        self.events.clear()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command; gives the browser's answer."""
        self._n += 1
        command: dict[str, Any] = {"id": self._n, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._out, json.dumps(command).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._n:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            got = os.read(self._in, 2**20)
            assert got, "the browser has ended"
            self._rest += got
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    def evaluate(self, script: str) -> Any:
        """The value of a script."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Waits until a script's value is true."""
        ends_s = time.monotonic() + WAIT_S
        while not self.evaluate(script):
            assert time.monotonic() < ends_s, (script, self.evaluate("document.body.innerText"))
            time.sleep(0.05)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.getElementById('bounds')?.textContent.length > 0")

    def key(self, name: str) -> None:
        """Presses a key."""
        code, text = {"Tab": (9, ""), "Enter": (13, "\r"), "ArrowRight": (39, "")}[name]
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, text=text,
                windowsVirtualKeyCode=code,
            )  # fmt: skip

    def tab_to(self, name: str) -> None:
        """Presses Tab until the element of that id has the focus."""
        for _ in range(N_STEPS):
            if self.evaluate("document.activeElement.id") == name:
                return
            self.key("Tab")
        raise AssertionError(f"Tab does not lead to {name}")

    def screenshot(self, *, width: int, dark: bool, to: Path) -> None:
        """Saves a screenshot of the whole page, without transitions."""
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        to.write_bytes(base64.b64decode(answer["data"]))

    def console_messages(self) -> list[Any]:
        """The console's messages: errors, and requests that the page's policy blocked."""
        self.evaluate("1")
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        messages = [one["params"] for one in self.events if one["method"] in kinds]
        return [one for one in messages if one.get("entry", {}).get("level") != "verbose"]

    def requested_urls(self) -> list[str]:
        """The URLs that the page requested."""
        self.evaluate("1")
        method = "Network.requestWillBeSent"
        return [one["params"]["request"]["url"] for one in self.events if one["method"] == method]

    def close(self) -> None:
        with suppress(OSError, AssertionError):
            self._session = ""
            self.call("Browser.close")
        self.process.kill()
        self.process.wait()
        os.close(self._in)
        os.close(self._out)


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The URL of an app that runs in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()
