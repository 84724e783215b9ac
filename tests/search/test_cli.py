import subprocess
import sys

import pytest

from search.cli import COMMANDS, main


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from search.cli import main; main(['--help']); "
        "heavy = {'torch', 'ray', 'optuna', 'pandas', 'numpy'} & set(sys.modules); "
        "sys.exit(','.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweeep"]) == 2
    assert "unknown command 'sweeep'" in capsys.readouterr().err


def test_the_sweeps_help_has_every_key_with_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--help"]) == 0
    said = capsys.readouterr().out
    for text in ("--budget.trials (64)", "how many trials", "--split.test", "shipped sweeps: "):
        assert text in said
    lines = said.splitlines()
    keys = [i for i, line in enumerate(lines) if line.startswith("  --")]
    assert len(keys) > 20
    assert all(lines[i + 1].strip() for i in keys), "a key without a text"
