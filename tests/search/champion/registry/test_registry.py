"""Champion registry: the champion always resolves to a complete bundle, even after a crash."""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chorale.datasets.errors import UserError
from chorale.search.bundle.bundle import Bundle
from chorale.search.champion.registry.registry import Registry
from chorale.search.cli import main
from chorale.search.paths import ChampionPaths


def make(root: Path, name: str) -> Bundle:
    """A bundle with one file in place of its networks."""
    root.mkdir(parents=True)
    (root / "weights").write_text(name * 1000)
    manifest: dict[str, Any] = {
        "version": 1,
        "study": name,
        "labels": ["a", "b"],
        "kind": "soft_vote",
        "members": ["1"],
        "architectures": ["cnn"],
        "networks": [],
        "features": {},
        "temperature": 1.0,
        "coverage": 0.9,
        "least_proba": 0.1,
        "most_disagreement": 0.1,
        "about": {"headline": f"scores of {name}"},
        "files": {"weights": hashlib.sha256((root / "weights").read_bytes()).hexdigest()},
    }
    (root / "bundle.json").write_text(json.dumps(manifest))
    return Bundle.open(root)


@pytest.fixture
def first(tmp_path: Path) -> Bundle:
    return make(tmp_path / "made" / "first", "first")


@pytest.fixture
def second(tmp_path: Path) -> Bundle:
    return make(tmp_path / "made" / "second", "second")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(ChampionPaths(tmp_path / "champions" / "music"))


def study_of(registry: Registry) -> str:
    champion = registry.current()
    assert champion is not None
    return champion.manifest.study


def test_champions_follow_one_another_and_can_be_rolled_back(
    registry: Registry, first: Bundle, second: Bundle
) -> None:
    assert registry.current() is None
    registry.promote(first, expected=None, reason="the first")
    registry.promote(second, expected=first.digest, reason="better")
    assert study_of(registry) == "second"
    registry.rollback("it was not")
    assert study_of(registry) == "first"
    assert [(one.study, one.reason) for one in registry.history()] == [
        ("first", "the first"),
        ("second", "better"),
        ("first", "it was not"),
    ]


def test_the_commands_show_the_champion_and_its_history_and_roll_it_back(
    registry: Registry,
    first: Bundle,
    second: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry.promote(first, expected=None, reason="the first")
    registry.promote(second, expected=first.digest, reason="better")
    runs = ["--runs", str(tmp_path)]
    assert main(["champion", "show", *runs]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "study second" in output
    assert "scored scores of second" in output
    assert main(["champion", "show", "music", "--json", *runs]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["champion"], shown["study"], shown["number"]) == ("music", "second", 2)
    assert (shown["bundle"], shown["reason"]) == (second.digest, "better")
    assert main(["champion", "rollback", *runs, "--reason", "it was not"]) == 0
    shutil.rmtree(registry.paths.bundle(second.digest).root)
    capsys.readouterr()
    assert main(["champion", "history", "--json", *runs]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["study"] for one in found] == ["first", "second", "first"]
    assert [one["exists"] for one in found] == [True, False, True]
    assert found[0]["reason"] == "it was not"
    assert main(["champion", "history", *runs]) == 0
    assert f"{second.digest[:12]} (removed)" in capsys.readouterr().out
    assert main(["champion", "show", "musci", *runs]) == 1
    assert "unknown champion 'musci'; did you mean 'music'?" in capsys.readouterr().err


def test_a_promotion_decided_against_another_champion_is_refused(
    registry: Registry, first: Bundle, second: Bundle
) -> None:
    registry.promote(first, expected=None, reason="one night")
    with pytest.raises(UserError, match="by now, and not none as when this was decided"):
        registry.promote(second, expected=None, reason="the same night, elsewhere")
    assert study_of(registry) == "first"


def test_a_first_champion_cannot_be_rolled_back(registry: Registry, first: Bundle) -> None:
    registry.promote(first, expected=None, reason="the first")
    with pytest.raises(UserError, match="no champion before the present one"):
        registry.rollback("why not")


def test_a_damaged_champion_is_refused(registry: Registry, first: Bundle) -> None:
    registry.promote(first, expected=None, reason="the first")
    (registry.paths.bundle(first.digest).root / "weights").write_text("x")
    with pytest.raises(UserError, match="is not the file that the manifest was written for"):
        registry.current()


def _die_at(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills this process before the `call`th file operation of a promotion."""
    left = call

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return wrapped

    for module, name in (
        (tempfile, "mkdtemp"),
        (shutil, "copyfile"),
        (os, "fsync"),
        (Path, "replace"),
        (Path, "rename"),
        (fcntl, "flock"),
        (shutil, "rmtree"),
    ):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))


def test_a_promotion_that_is_killed_at_any_step_leaves_a_complete_champion(
    registry: Registry, first: Bundle, second: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.promote(first, expected=None, reason="the first")
    seen = []
    for call in range(100):
        shutil.rmtree(registry.paths.bundle(second.digest).root, ignore_errors=True)
        child = os.fork()
        if child == 0:
            _die_at(call, monkeypatch)
            registry.promote(second, expected=first.digest, reason="better")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        seen.append(study_of(registry))
        if os.WIFEXITED(status):
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        if seen[-1] == "second":  # it died after the change
            registry.rollback("for the next try")
    assert seen[-1] == "second"
    assert seen[0] == "first"
    assert len(seen) > 12
