"""Options of the metrics, their HTTP endpoint, and its end."""

import socket
import threading
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from chorale.datasets.errors import UserError
from chorale.search.cli import main
from chorale.search.commands.command import command
from chorale.search.commands.metrics_options import MetricsAddress, metrics_options
from chorale.search.http_server import serving
from chorale.search.monitoring.endpoint import metrics_endpoint
from chorale.search.monitoring.monitor import SweepMonitor
from chorale.search.sweep import run
from tests.search.monitoring.scraping import sample_key, samples_of, scraped

HOST = "127.0.0.1"


@pytest.mark.parametrize(
    ("args", "address"),
    [
        ([], None),
        (["--metrics-port", "9464"], (HOST, 9464)),
        (["--metrics-port=0", "--metrics-host=::1"], ("::1", 0)),
    ],
)
def test_the_options_name_where_metrics_are_served(
    args: list[str], address: tuple[str, int] | None
) -> None:
    @command(examples=["x"])
    @metrics_options
    def served(metrics: MetricsAddress | None) -> int:
        assert metrics == (None if address is None else MetricsAddress(*address))
        return 7

    assert served.main(args, standalone_mode=False) == 7


@pytest.mark.parametrize("command", ["sweep", "resume", "nightly"])
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--metrics-port", "many"], "--metrics-port should be a whole number from 0 to 65535"),
        (["--metrics-port", "65536"], "--metrics-port should be a whole number from 0 to 65535"),
        (["--metrics-port"], "--metrics-port needs a value: --metrics-port PORT"),
        (["--metrics-port", "--resume"], "--metrics-port needs a value"),
        (["--metrics-host", HOST], "--metrics-host needs a port, too: --metrics-port 9464"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    command: str, args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "demo", *args]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_taken_port_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "run_sweep", lambda *_, **__: pytest.fail("it began to work"))
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["sweep", "demo", "--metrics-port", port]) == 1
    out, error = capsys.readouterr()
    assert error == (
        f"chorale sweep: port {port} is taken; choose another with --metrics-port, or any with "
        f"--metrics-port 0\n"
    )
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_another_machines_address_is_refused() -> None:
    with (
        pytest.raises(
            UserError, match=r"--metrics-host 192\.0\.2\.1 is no address of this machine"
        ),
        metrics_endpoint(SweepMonitor(), host="192.0.2.1", port=0),
    ):
        pass


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--plan"], "with --plan none does"),
        (["--cluster.address", "http://head:8265"], "as a job of http://head:8265 none does"),
    ],
)
def test_metrics_of_a_sweep_that_does_not_run_here_are_refused(
    args: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "demo", *args, "--metrics-port", "0"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert why in line


@pytest.mark.parametrize(
    ("error", "code"), [(UserError("it cannot"), 1), (KeyboardInterrupt(), 130)]
)
def test_the_endpoint_ends_with_a_sweep_that_fails_or_is_interrupted(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    urls = []

    def run_sweep(*_: Any, monitor: SweepMonitor, **__: Any) -> None:
        monitor.begin("s")
        urls.append(capsys.readouterr().out.split()[1])
        assert samples_of(scraped(urls[0]))[sample_key("chorale_stage", stage="data")] == 1
        raise error

    monkeypatch.setattr(run, "run_sweep", run_sweep)
    assert main(["sweep", "demo", "--metrics-port", "0"]) == code
    with pytest.raises(urllib.error.URLError, match="refused"):
        scraped(urls[0])


def test_a_nightly_run_serves_metrics_of_its_sweep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from chorale.search.nightly import night

    texts = []

    def run_night(*_: Any, monitor: SweepMonitor, **__: Any) -> None:
        monitor.begin("tonight")
        texts.append(scraped(capsys.readouterr().out.split()[1]))

    monkeypatch.setattr(night, "run_night", run_night)
    assert main(["nightly", "nightly_demo", "--metrics-port", "0"]) == 0
    assert 'chorale_stage{stage="data",study="tonight"} 1.0' in texts[0]


def test_only_the_metrics_are_served() -> None:
    with metrics_endpoint(SweepMonitor(), host=HOST, port=0) as url:
        assert url.endswith("/metrics")
        assert "# TYPE chorale_stage gauge" in scraped(url)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            scraped(url.removesuffix("metrics"))


def test_a_client_that_sends_nothing_delays_neither_others_nor_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with metrics_endpoint(SweepMonitor(), host=HOST, port=0) as url:
        port = int(url.split(":")[2].partition("/")[0])
        silent = socket.create_connection((HOST, port))
        gone = socket.create_connection((HOST, port))
        gone.sendall(b"GET /metrics HTTP/1.0\r\n")
        gone.close()
        assert scraped(url)
    silent.close()
    assert capsys.readouterr().err == "", "clients that have gone are not the sweep's concern"


def test_threads_of_the_server_end_with_it() -> None:
    before = set(threading.enumerate())

    def answer(_: Any, start: Any) -> list[bytes]:
        start("200 OK", [])
        return [threading.current_thread().name.encode()]

    with serving(answer, host=HOST, port=0) as url:
        assert scraped(url) == "chorale-http"
        threads = set(threading.enumerate()) - before
        assert {one.name for one in threads} == {"chorale-http"}
    for one in threads:
        one.join(20)
        assert not one.is_alive()
