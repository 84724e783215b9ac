import functools
import io
import json
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from chorale.datasets import catalog, plugins
from chorale.datasets.errors import UserError
from chorale.search.commands import data_fetch, data_list
from chorale.search.commands.data_fetch_display import FetchDisplay

TOY = """
from chorale.datasets.base import DatasetInfo, Download

INFO = DatasetInfo(
    name="toy",
    title="A toy [small]",
    licence="none",
    citation="nobody",
    homepage="https://toys.example",
    downloads=(
        Download("{url}/a.csv", "a.csv", part="a"),
        Download("{url}/b.csv", "b.csv", part="b"),
    ),
)
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A dataset `toy` in the catalog, whose files a server on this machine has."""
    site, extra = tmp_path / "site", tmp_path / "extra"
    site.mkdir()
    extra.mkdir()
    (site / "a.csv").write_text("a" * 1000)
    (site / "b.csv").write_text("b" * 1000)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    url = f"http://127.0.0.1:{server.server_port}"
    (extra / "toy.py").write_text(TOY.format(url=url))
    monkeypatch.setattr(catalog, "__path__", [*catalog.__path__, str(extra)])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield tmp_path / "root"
    server.shutdown()
    server.server_close()
    thread.join()
    sys.modules.pop("chorale.datasets.catalog.toy", None)


def test_the_list_names_every_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    assert data_list.run([]) == 0
    said = capsys.readouterr().out
    assert [name for name in plugins.names(catalog) if f" {name} " not in said] == []


def test_the_list_says_what_to_type(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data_list.run([])
    said = capsys.readouterr().out
    assert "A toy [small]" in said
    assert "chorale data fetch toy" in said
    assert "[--part a|b]" in said


def test_the_list_as_json_has_every_field(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data_list.run(["--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert sorted(found) == sorted(plugins.names(catalog))
    assert all(entry["licence"] and entry["citation"] for entry in found.values())
    assert [one["part"] for one in found["toy"]["downloads"]] == ["a", "b"]


def test_the_list_knows_one_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="unknown word '--jsn'; the only one allowed is --json"):
        data_list.run(["--jsn"])


@pytest.mark.parametrize("command", [data_list, data_fetch])
def test_help_shows_how_to_type_it(command: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["--help"]) == 0  # type: ignore[attr-defined]
    assert "usage: chorale data " in capsys.readouterr().out


@pytest.mark.parametrize(("words", "name"), [([], "a.csv"), (["--part=b"], "b.csv")])
def test_fetch_gets_a_dataset_and_says_how_to_use_it(
    toy: Path, capsys: pytest.CaptureFixture[str], words: list[str], name: str
) -> None:
    assert data_fetch.run(["toy", "--root", str(toy), *words]) == 0
    assert [path.name for path in toy.iterdir()] == [name]
    said = capsys.readouterr().out
    assert "unverified" in said
    assert said.endswith(f"Use it with:  --dataset.name toy --dataset.root {toy}\n")


def test_an_interrupted_fetch_says_how_to_go_on(
    toy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    words = ["toy", "--root", str(toy / "my data")]
    with monkeypatch.context() as patched:
        patched.setattr(FetchDisplay, "progress", interrupt)
        with pytest.raises(KeyboardInterrupt):
            data_fetch.run(words)
    assert f"chorale data fetch toy --root '{toy}/my data'" in capsys.readouterr().out
    assert (toy / "my data" / "a.csv.part").exists()
    assert data_fetch.run(words) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "expected the name of one dataset, but got none; choose from: .*toy"),
        (["toy", "fma"], "expected the name of one dataset, but got toy fma"),
        (["tooy"], "unknown dataset 'tooy'; did you mean 'toy'"),
        (["toy"], "--root is missing: .*type: chorale data fetch toy --root FOLDER"),
        (["toy", "--root"], "--root needs a value: --root ROOT"),
        (["toy", "--root", "--part", "a"], "--root needs a value"),
        (["toy", "--rot", "x"], "unknown option '--rot'; did you mean '--root'"),
        (["toy", "--part", "c"], "unknown part of dataset 'toy' 'c'"),
        (["folder"], "dataset 'folder' has nothing to download: .*your own"),
        (["gtzan"], "dataset 'gtzan' has nothing to download: .*kaggle"),
    ],
)
def test_a_mistake_in_what_was_typed_is_said(toy: Path, words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        data_fetch.run(words)


def test_a_log_gets_lines_with_rate_and_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 6.0, 7.0, 12.0, 20.0, 30.0])
    fake = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr("chorale.search.commands.data_fetch_display.time", fake)
    console = Console(file=io.StringIO(), width=120)
    with FetchDisplay(console) as display:
        for mib in (10, 20, 40, 45, 70):
            display.progress("a.zip", mib * 1024**2, 100 * 1024**2)
        display.progress("b.zip", 1, None)
        display.progress("b.zip", 1025, None)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "a.zip: 40.0 MiB of 100.0 MiB (40%), 5.0 MiB/s, about 12 s left",
        "a.zip: 70.0 MiB of 100.0 MiB (70%), 5.0 MiB/s, about 6 s left",
        "b.zip: 1.0 KiB, 102 bytes/s",
    ]


def test_a_terminal_gets_a_bar_for_what_goes_on_now() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, force_interactive=True)
    with FetchDisplay(console) as display:
        display.progress("[a].zip", 1024, 2048)
        display.say("a line [that] stays")
        display.progress("b.zip", 1024, None)
        display._bar.refresh()
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[a].zip" in said
    assert "1.0/2.0 KiB" in said
    assert "a line [that] stays" in said
    assert "b.zip" in said
