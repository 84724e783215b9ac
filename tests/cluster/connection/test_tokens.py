import stat
from pathlib import Path

import pytest

from chorale.cluster.connection import tokens


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (tokens.RAY_TOKEN_VARIABLE, tokens.RAY_TOKEN_PATH_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_rays_default_token_file_becomes_readable_by_its_owner_only(home: Path) -> None:
    file = home / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("secret")
    file.chmod(0o644)
    assert tokens.is_accessible_to_others(file)
    tokens.restrict_default_file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == "secret"


def test_the_mode_of_a_token_file_that_the_user_chose_is_not_changed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "mine"
    file.write_text("secret")
    file.chmod(0o640)
    monkeypatch.setenv(tokens.RAY_TOKEN_PATH_VARIABLE, str(file))
    tokens.restrict_default_file()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_token_is_found_where_ray_looks_for_it_in_rays_order(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not tokens.has_token()
    assert tokens.token_file() == home / ".ray" / "auth_token"
    monkeypatch.setenv(tokens.RAY_TOKEN_PATH_VARIABLE, str(home / "mine"))
    assert tokens.token_file() == home / "mine"
    monkeypatch.setenv(tokens.RAY_TOKEN_VARIABLE, "x")
    assert tokens.token_file() is None
    assert tokens.has_token()
