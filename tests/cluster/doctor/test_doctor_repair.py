"""The doctor's fix, executed in a really broken environment, with packages from the index."""

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
"""Compiled for PyTorch 2.11; it does not load with the locked version."""


def _python(folder: Path) -> str:
    """A new environment that also sees the packages of this one, after its own."""
    venv.create(folder, with_pip=True)
    own = next(folder.glob("lib/python*/site-packages"))
    inherited = [*site.getsitepackages(), *checkout_paths()[:1]]
    lines = [f"import site; site.addsitedir({path!r})" for path in inherited]
    (own / "inherited.pth").write_text("\n".join(lines))
    return str(folder / "bin" / "python")


def _doctor(python: str, folder: Path) -> tuple[int, dict[str, dict[str, str]]]:
    words = ["-m", "chorale.search", "doctor", "--json", "--runs", str(folder / "runs")]
    done = subprocess.run([python, *words], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, {one["what"]: one for one in json.loads(done.stdout)}


@pytest.mark.heavy
def test_the_doctors_fix_repairs_a_broken_environment(tmp_path: Path) -> None:
    python = _python(tmp_path / "venv")
    command = [python, "-m", "pip", "install", "--no-deps", "--force-reinstall", BROKEN]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip(f"{BROKEN} cannot be downloaded here")
    code, found = _doctor(python, tmp_path)
    assert code == 1
    assert found["imports"]["said"].startswith("torchaudio cannot be imported (")
    subprocess.run(shlex.split(found["imports"]["mend"]), check=True, capture_output=True)
    code, found = _doctor(python, tmp_path)
    assert (code, found["imports"]["state"]) == (0, "ok"), found["imports"]
    assert sys.executable != python
