import functools
import io
import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from chorale.datasets import catalog, plugins
from chorale.search.cli import main
from chorale.search.commands.download_progress import DownloadProgress

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
    """A dataset `toy` in the catalog, whose files are served by a local server."""
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
    assert main(["data", "list"]) == 0
    output = capsys.readouterr().out
    assert [name for name in plugins.plugin_names(catalog) if f" {name} " not in output] == []


def test_the_list_shows_the_command_to_type(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "list"])
    output = capsys.readouterr().out
    assert "A toy [small]" in output
    assert "chorale data fetch toy" in output
    assert "[--part a|b]" in output


def test_the_list_as_json_has_every_field(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list", "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert sorted(found) == sorted(plugins.plugin_names(catalog))
    assert all(entry["licence"] and entry["citation"] for entry in found.values())
    assert [one["part"] for one in found["toy"]["downloads"]] == ["a", "b"]


def test_the_list_accepts_one_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list", "--jsn"]) == 2
    assert "unknown option '--jsn'; did you mean '--json'?" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "fetch"])
def test_help_shows_the_usage(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", command, "--help"]) == 0
    assert "usage: chorale data " in capsys.readouterr().out


@pytest.mark.parametrize(("args", "name"), [([], "a.csv"), (["--part=b"], "b.csv")])
def test_fetch_downloads_a_dataset_and_prints_how_to_use_it(
    toy: Path, capsys: pytest.CaptureFixture[str], args: list[str], name: str
) -> None:
    assert main(["data", "fetch", "toy", "--root", str(toy), *args]) == 0
    assert [path.name for path in toy.iterdir()] == [name]
    output = capsys.readouterr().out
    assert "unverified" in output
    assert output.endswith(f"Use it with:  --dataset.name toy --dataset.root {toy}\n")


def test_an_interrupted_fetch_prints_how_to_resume(
    toy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    args = ["toy", "--root", str(toy / "my data")]
    with monkeypatch.context() as patched:
        patched.setattr(DownloadProgress, "progress", interrupt)
        assert main(["data", "fetch", *args]) == 130
    assert f"chorale data fetch toy --root '{toy}/my data'" in capsys.readouterr().out
    assert (toy / "my data" / "a.csv.part").exists()
    assert main(["data", "fetch", *args]) == 0


@pytest.mark.parametrize(
    ("args", "expected", "code"),
    [
        ([], "expected the name of a dataset; type: chorale data fetch NAME", 2),
        (["toy", "fma"], "expected the name of one dataset, but got toy fma", 2),
        (["tooy"], "unknown dataset 'tooy'; did you mean 'toy'", 1),
        (["toy"], "--root is missing: .*type: chorale data fetch toy --root FOLDER", 2),
        (["toy", "--root"], "--root needs a value: --root FOLDER", 2),
        (["toy", "--root", "--part", "a"], "--root needs a value", 2),
        (["toy", "--rot", "x"], "unknown option '--rot'; did you mean '--root'", 2),
        (["toy", "--part", "c"], "unknown part of dataset 'toy' 'c'", 1),
        (["folder"], "dataset 'folder' has nothing to download: .*your own", 1),
        (["gtzan"], "dataset 'gtzan' has nothing to download: .*kaggle", 1),
    ],
)
def test_wrong_arguments_are_refused(
    toy: Path, args: list[str], expected: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "fetch", *args]) == code
    assert re.search(expected, capsys.readouterr().err)


def test_a_log_gets_lines_with_rate_and_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 6.0, 7.0, 12.0, 20.0, 30.0])
    fake = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr("chorale.search.commands.download_progress.time", fake)
    console = Console(file=io.StringIO(), width=120)
    with DownloadProgress(console) as display:
        for mib in (10, 20, 40, 45, 70):
            display.progress("a.zip", mib * 1024**2, 100 * 1024**2)
        display.progress("b.zip", 1, None)
        display.progress("b.zip", 1025, None)
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "a.zip: 40.0 MiB of 100.0 MiB (40%), 5.0 MiB/s, about 12 s left",
        "a.zip: 70.0 MiB of 100.0 MiB (70%), 5.0 MiB/s, about 6 s left",
        "b.zip: 1.0 KiB, 102 bytes/s",
    ]


def test_a_terminal_gets_a_bar_for_the_current_file() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, force_interactive=True)
    with DownloadProgress(console) as display:
        display.progress("[a].zip", 1024, 2048)
        display.message("a line [that] stays")
        display.progress("b.zip", 1024, None)
        display._bar.refresh()
    output = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[a].zip" in output
    assert "1.0/2.0 KiB" in output
    assert "a line [that] stays" in output
    assert "b.zip" in output
