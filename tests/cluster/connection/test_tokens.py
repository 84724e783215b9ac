import stat
from pathlib import Path

import pytest

from chorale.cluster.connection import tokens


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (tokens.TOKEN, tokens.TOKEN_PATH):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_rays_own_token_file_is_taken_from_others_eyes(home: Path) -> None:
    file = home / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("secret")
    file.chmod(0o644)
    assert tokens.is_open(file)
    tokens.shut_default()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == "secret"


def test_a_file_that_somebody_chose_is_left_as_it_is(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "mine"
    file.write_text("secret")
    file.chmod(0o640)
    monkeypatch.setenv(tokens.TOKEN_PATH, str(file))
    tokens.shut_default()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_token_is_found_where_ray_looks_for_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not tokens.has_token()
    assert tokens.token_file() == home / ".ray" / "auth_token"
    monkeypatch.setenv(tokens.TOKEN_PATH, str(home / "mine"))
    assert tokens.token_file() == home / "mine"
    monkeypatch.setenv(tokens.TOKEN, "x")
    assert tokens.token_file() is None
    assert tokens.has_token()
