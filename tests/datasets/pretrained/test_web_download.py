"""Fetching an encoder from a web address, from a local server that simulates failures."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chorale.datasets.download.download import RetryPolicy
from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.fetching import fetch_encoder
from chorale.datasets.pretrained.installed import encoder_info, is_fetched, require_fetched
from chorale.datasets.pretrained.integrity import FETCHED_NAME, checksum_problem
from tests.datasets.download import test_fetch as server
from tests.datasets.pretrained.conftest import Listener
from tests.datasets.pretrained.test_fetching import visible

site, Site = server.site, server.Site

Ship = Callable[..., None]

IMPATIENT = RetryPolicy(max_attempts=2, first_pause_s=0.0, timeout_s=5.0)
AGAIN = "chorale encoder fetch toy --file FILE"
NOWHERE = "http://127.0.0.1:9/toy.bin"


def source(url: str, *, checksum: str = "", max_bytes: int = 10_000_000) -> str:
    return f"web_file=WebFile({url!r}, max_bytes={max_bytes}, checksum={checksum!r}),"


def fetched(listener: Listener, *, file: Path | None = None) -> Path:
    return fetch_encoder("toy", accept=False, progress=listener, file=file, retry_policy=IMPATIENT)


@pytest.mark.parametrize("checksum", ["", server.SHA256])
def test_the_file_at_the_address_is_fetched_and_its_checksum_recorded(
    ship: Ship, site: server.Site, folder: Path, listener: Listener, checksum: str
) -> None:
    ship(source=source(site.url, checksum=checksum))
    with pytest.raises(UserError, match=r"not been fetched; type: chorale encoder fetch toy$"):
        require_fetched("toy")
    path = fetched(listener)
    assert path == folder / "toy" / "toy.bin"
    assert path.read_bytes() == server.BODY
    assert visible(folder) == ["toy", f"toy/{FETCHED_NAME}", "toy/toy.bin"]
    record = json.loads((folder / "toy" / FETCHED_NAME).read_text())
    assert record["files"] == {"toy.bin": server.SHA256}
    assert record["from"] == [site.url]
    assert any(("unverified" in text) == (not checksum) for text in listener.messages)
    fetched(listener)
    assert len(site.requests) == 1
    path.write_bytes(b"damaged")
    assert "is wanted" in checksum_problem(encoder_info("toy"), folder / "toy")
    fetched(listener)
    assert path.read_bytes() == server.BODY


def test_a_converted_file_is_not_kept(
    ship: Ship, site: server.Site, folder: Path, listener: Listener
) -> None:
    ship(source=source(site.url.replace("toy.bin", "model.bin")), converts=True)
    assert fetched(listener).read_bytes() == server.BODY[::-1]
    assert visible(folder) == ["toy", f"toy/{FETCHED_NAME}", "toy/toy.bin"]


def test_an_interrupted_download_is_resumed(
    ship: Ship, site: server.Site, folder: Path, listener: Listener
) -> None:
    ship(source=source(site.url))
    site.faults = ["cut:1000000", "status:503"]
    with pytest.raises(UserError, match="resumes a download"):
        fetched(listener)
    assert not is_fetched("toy")
    assert "toy/download/toy.bin.part" in visible(folder)
    fetched(listener)
    assert visible(folder) == ["toy", f"toy/{FETCHED_NAME}", "toy/toy.bin"]
    assert site.ranges_asked() == ["", "bytes=1000000-", "bytes=1000000-"]
    assert require_fetched("toy").read_bytes() == server.BODY


def test_another_checksum_keeps_nothing(
    ship: Ship, site: server.Site, folder: Path, listener: Listener
) -> None:
    ship(source=source(site.url, checksum="0" * 64))
    with pytest.raises(UserError, match=f"sha256 is {server.SHA256}, but {'0' * 64} was publish"):
        fetched(listener)
    assert visible(folder) == ["toy"]


@pytest.mark.parametrize("fault", ["", "no length"])
def test_a_file_that_is_too_large_is_refused(
    ship: Ship, site: server.Site, folder: Path, listener: Listener, fault: str
) -> None:
    ship(source=source(site.url, max_bytes=len(server.BODY) - 1))
    site.faults = [fault]
    with pytest.raises(UserError, match="larger than"):
        fetched(listener)
    assert visible(folder) == ["toy"]


def test_no_network_is_one_line_that_says_what_to_do(
    ship: Ship, folder: Path, listener: Listener
) -> None:
    ship(source=source(NOWHERE))
    with pytest.raises(UserError, match=r"no connection.*2 times in a row") as got:
        fetched(listener)
    assert "\n" not in str(got.value)
    assert NOWHERE in str(got.value)
    assert str(got.value).endswith(f"type: {AGAIN}")


@pytest.mark.parametrize("checksum", ["", "right", "wrong"])
def test_a_file_that_the_user_downloaded_is_taken(
    ship: Ship, folder: Path, listener: Listener, tmp_path: Path, checksum: str
) -> None:
    given = tmp_path / "downloaded (1).bin"
    given.write_bytes(b"weights")
    digest = {"right": hashlib.md5(b"weights").hexdigest(), "wrong": "0" * 32}.get(checksum)
    ship(source=source(NOWHERE, checksum=f"md5:{digest}" if digest else ""))
    if checksum == "wrong":
        with pytest.raises(UserError, match=f"another file than the one meant.*{digest}") as got:
            fetched(listener, file=given)
        assert str(got.value).endswith(f"; get {NOWHERE}, and type: {AGAIN}")
        assert not is_fetched("toy")
        return
    assert fetched(listener, file=given).read_bytes() == b"weights"
    assert checksum_problem(encoder_info("toy"), folder / "toy") == ""
    given.write_bytes(b"others")
    if not checksum:  # a newer file replaces it
        assert fetched(listener, file=given).read_bytes() == b"others"


def test_a_file_of_the_user_that_is_too_large_is_refused(
    ship: Ship, folder: Path, listener: Listener, tmp_path: Path
) -> None:
    ship(source=source(NOWHERE, max_bytes=3))
    (tmp_path / "toy.bin").write_bytes(b"1234")
    with pytest.raises(UserError, match=r"toy.bin' is larger than 3 bytes"):
        fetched(listener, file=tmp_path / "toy.bin")
    assert not is_fetched("toy")


def test_what_can_only_be_got_by_hand_says_how(
    ship: Ship, folder: Path, listener: Listener, tmp_path: Path
) -> None:
    ship(source='how_to_get="download toy.bin from https://toys.example",')
    wanted = (
        "download toy.bin from https://toys.example, then type: "
        "chorale encoder fetch toy --file FILE"
    )
    with pytest.raises(UserError, match="must be got by hand") as got:
        fetched(listener)
    assert str(got.value).endswith(wanted)
    with pytest.raises(UserError, match=r"there is no file .*missing.bin"):
        fetched(listener, file=tmp_path / "missing.bin")
    (tmp_path / "toy.bin").write_bytes(b"weights")
    assert fetched(listener, file=tmp_path / "toy.bin").read_bytes() == b"weights"


def test_a_file_is_refused_where_a_package_carries_the_weights(
    ship: Ship, folder: Path, listener: Listener, tmp_path: Path
) -> None:
    ship()
    (tmp_path / "toy.bin").write_bytes(b"weights")
    with pytest.raises(UserError, match="--file is for encoders whose file is downloaded"):
        fetched(listener, file=tmp_path / "toy.bin")
