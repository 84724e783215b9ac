"""The advice of the doctor is followed, in an environment that is really broken, from the index."""

import json
import shlex
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from chorale.cluster.environment import checkout_paths

BROKEN = "torchaudio==2.11.0"
"""Compiled for the PyTorch 2.11 of its day; beside the locked one it does not load."""


def _python(folder: Path) -> str:
    """A new environment that sees the packages of this one below its own."""
    venv.create(folder, with_pip=True)
    own = next(folder.glob("lib/python*/site-packages"))
    below = [*site.getsitepackages(), *checkout_paths()[:1]]
    (own / "below.pth").write_text("\n".join(f"import site; site.addsitedir({p!r})" for p in below))
    return str(folder / "bin" / "python")


def _doctor(python: str, folder: Path) -> tuple[int, dict[str, dict[str, str]]]:
    words = ["-m", "chorale.search", "doctor", "--json", "--runs", str(folder / "runs")]
    done = subprocess.run([python, *words], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, {one["what"]: one for one in json.loads(done.stdout)}


@pytest.mark.heavy
def test_what_the_doctor_advises_mends_a_broken_environment(tmp_path: Path) -> None:
    python = _python(tmp_path / "venv")
    breaks = [python, "-m", "pip", "install", "--no-deps", "--force-reinstall", BROKEN]
    if subprocess.run(breaks, capture_output=True, check=False).returncode:
        pytest.skip(f"{BROKEN} cannot be fetched here")
    code, found = _doctor(python, tmp_path)
    assert code == 1
    assert found["imports"]["said"].startswith("torchaudio cannot be imported (")
    subprocess.run(shlex.split(found["imports"]["mend"]), check=True, capture_output=True)
    code, found = _doctor(python, tmp_path)
    assert (code, found["imports"]["state"]) == (0, "ok"), found["imports"]
    assert sys.executable != python
