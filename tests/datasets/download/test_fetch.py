"""Dataset downloads from a local web server that simulates server and network failures."""

import contextlib
import hashlib
import io
import random
import shutil
import ssl
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request

import pytest

from chorale.datasets import catalog, plugins
from chorale.datasets.base import DatasetInfo, Download
from chorale.datasets.catalog import fsdd
from chorale.datasets.download.archive_members import ArchiveLimits
from chorale.datasets.download.checksum import parse_checksum
from chorale.datasets.download.download import RetryPolicy
from chorale.datasets.download.fetch import fetch_dataset
from chorale.datasets.download.web import HttpsRedirects, WebError
from chorale.datasets.errors import UserError

BODY = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
IMPATIENT = RetryPolicy(max_attempts=4, first_pause_s=0.0, timeout_s=5.0)


@dataclass
class Site:
    """The server's content and behaviour; `faults` are consumed, one per request."""

    body: bytes = BODY
    etag: str = '"one"'
    ranges: bool = True
    retry_after: str = "0"
    faults: list[str] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def ranges_asked(self) -> list[str]:
        return [headers.get("Range", "") for headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        site = self.site
        site.requests.append(dict(self.headers))
        self.close_connection = True
        fault, _, number = (site.faults.pop(0) if site.faults else "").partition(":")
        if fault == "hang up":
            return
        if fault == "status":
            self._head(int(number), {"Content-Length": "0", "Retry-After": site.retry_after})
            return
        if fault == "redirect":
            self._head(302, {"Location": number or site.url, "Content-Length": "0"})
            return
        self._send(fault, int(number) if number else None)

    def _send(self, fault: str, n: int | None) -> None:
        site, first = self.site, 0
        asked = self.headers.get("Range", "")
        if site.ranges and asked and self.headers.get("If-Range", site.etag) == site.etag:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
        headers = {"ETag": site.etag} if site.etag else {}
        if fault == "encoded":
            headers["Content-Encoding"] = "gzip"
        body = site.body[first:]
        if first >= len(site.body) > 0:
            self._head(416, {"Content-Range": f"bytes */{len(site.body)}", "Content-Length": "0"})
            return
        if first or (fault == "from the start" and asked):
            place = 0 if fault == "from the start" else first
            headers["Content-Range"] = f"bytes {place}-{len(site.body) - 1}/{len(site.body)}"
        if not fault.startswith("no length"):
            headers["Content-Length"] = str(len(body))
        self._head(206 if "Content-Range" in headers else 200, headers)
        # the client disconnects where a test interrupts it
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body[:n] + b"x" * (fault == "no length, too long"))

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()


@pytest.fixture
def site() -> Iterator[Site]:
    served = Site()
    handler = type("SiteHandler", (Handler,), {"site": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    served.url = f"http://127.0.0.1:{server.server_port}/toy.bin"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@dataclass
class RecordingListener:
    """Records everything; raises KeyboardInterrupt at `interrupt_at` bytes."""

    messages: list[str] = field(default_factory=list)
    updates: list[tuple[str, int, int | None]] = field(default_factory=list)
    interrupt_at: int | None = None

    def message(self, text: str) -> None:
        self.messages.append(text)

    def progress(self, what: str, done: int, total: int | None) -> None:
        self.updates.append((what, done, total))
        if self.interrupt_at is not None and done >= self.interrupt_at:
            raise KeyboardInterrupt


def info_of(site: Site, *, checksum: str = SHA256, **download: str) -> DatasetInfo:
    file_name = download.pop("file_name", "toy.bin")
    return DatasetInfo(
        name="toy",
        title="A toy",
        licence="none",
        citation="none",
        homepage="https://toys.example",
        checksums={file_name: checksum} if checksum else {},
        downloads=(Download(site.url, file_name, **download),),
    )


def get(info: DatasetInfo, root: Path, **other: object) -> RecordingListener:
    listener = other.pop("listener", None) or RecordingListener()
    assert isinstance(listener, RecordingListener)
    fetch_dataset(info, root, listener=listener, **{"retry_policy": IMPATIENT, **other})  # type: ignore[arg-type]
    return listener


def names(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def test_a_file_is_downloaded_and_verified_with_progress(site: Site, tmp_path: Path) -> None:
    listener = get(info_of(site), tmp_path / "new" / "root")
    assert (tmp_path / "new" / "root" / "toy.bin").read_bytes() == BODY
    assert names(tmp_path / "new" / "root") == ["toy.bin"]
    assert listener.messages[-1] == f"toy.bin: sha256 {SHA256} matches"
    received = [done for what, done, _ in listener.updates if what == "toy.bin"]
    assert received == sorted(received)
    assert received[-1] == len(BODY)
    assert {total for _, _, total in listener.updates} == {len(BODY)}


def test_a_second_call_sends_no_request(site: Site, tmp_path: Path) -> None:
    get(info_of(site), tmp_path)
    listener = get(info_of(site), tmp_path)
    assert len(site.requests) == 1
    assert "exists already" in listener.messages[0]


def test_without_a_published_checksum_the_files_own_is_reported(site: Site, tmp_path: Path) -> None:
    listener = get(info_of(site, checksum=""), tmp_path)
    assert listener.messages[-1].startswith(f"toy.bin: sha256 {SHA256}, unverified")


@pytest.mark.parametrize("algorithm", ["sha1", "sha512", "md5"])
def test_a_checksum_can_name_its_algorithm(site: Site, tmp_path: Path, algorithm: str) -> None:
    digest = hashlib.new(algorithm, BODY).hexdigest()
    listener = get(info_of(site, checksum=f"{algorithm}:{digest.upper()}"), tmp_path)
    assert listener.messages[-1] == f"toy.bin: {algorithm} {digest} matches"


@pytest.mark.parametrize("text", ["abc", "crc32:00000000", "sha1:" + "g" * 40, ":" + "0" * 64])
def test_an_invalid_checksum_raises_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_checksum(text)


@pytest.mark.parametrize("second", ["cut:500000", "no length:500000"])
def test_a_broken_connection_is_resumed(site: Site, tmp_path: Path, second: str) -> None:
    site.faults = ["cut:1000000", second]
    get(info_of(site), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == BODY
    assert site.ranges_asked() == ["", "bytes=1000000-", "bytes=1500000-"]
    assert [one.get("If-Range") for one in site.requests] == [None, '"one"', '"one"']


def test_a_file_without_a_stated_length_is_downloaded(site: Site, tmp_path: Path) -> None:
    site.faults = ["no length"]
    listener = get(info_of(site), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == BODY
    assert ("toy.bin", len(BODY), None) in listener.updates


def test_a_truncation_that_only_the_checksum_detects_raises(site: Site, tmp_path: Path) -> None:
    site.faults = ["no length:1000000"]
    with pytest.raises(UserError, match="was published"):
        get(info_of(site), tmp_path)
    assert names(tmp_path) == []


def test_more_bytes_than_stated_are_rejected(site: Site, tmp_path: Path) -> None:
    site.faults = ["cut:1000000", "no length, too long"]
    listener = get(info_of(site, checksum=""), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == BODY
    assert any("received 3000001 bytes instead of 3000000" in text for text in listener.messages)


def test_without_range_support_the_download_starts_again(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.faults = ["cut:1000000"]
    listener = get(info_of(site), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == BODY
    assert any("starting again" in text for text in listener.messages)


def test_a_file_that_has_changed_is_downloaded_again(site: Site, tmp_path: Path) -> None:
    site.faults = ["cut:1000000", *["status:503"] * 3]
    with pytest.raises(UserError, match="in a row"):
        get(info_of(site, checksum=""), tmp_path)
    site.body, site.etag = BODY[::-1], '"two"'
    get(info_of(site, checksum=""), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == BODY[::-1]


def test_a_server_that_ignores_if_range_cannot_mix_two_files(site: Site, tmp_path: Path) -> None:
    # a weak ETag is not allowed in If-Range, so only comparing the responses detects it
    site.etag = 'W/"one"'
    site.faults = ["cut:1000000", *["status:503"] * 3]
    info = info_of(site, checksum=hashlib.sha256(BODY[::-1]).hexdigest())
    with pytest.raises(UserError, match="in a row"):
        get(info, tmp_path)
    site.body, site.etag = BODY[::-1], 'W/"two"'
    listener = get(info, tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == BODY[::-1]
    assert any("on the server has changed" in text for text in listener.messages)
    assert "If-Range" not in site.requests[-2]


def test_without_etag_and_checksum_nothing_is_resumed(site: Site, tmp_path: Path) -> None:
    site.etag = ""
    site.faults = ["cut:1000000"]
    get(info_of(site, checksum=""), tmp_path)
    assert site.ranges_asked() == ["", ""]


def test_with_a_checksum_no_etag_is_needed_to_resume(site: Site, tmp_path: Path) -> None:
    site.etag = ""
    site.faults = ["cut:1000000"]
    get(info_of(site), tmp_path)
    assert site.ranges_asked() == ["", "bytes=1000000-"]


def test_a_response_with_the_wrong_range_starts_again(site: Site, tmp_path: Path) -> None:
    site.faults = ["cut:1000000", "from the start"]
    get(info_of(site), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == BODY
    assert site.ranges_asked() == ["", "bytes=1000000-", ""]


def test_a_partial_file_longer_than_the_file_starts_again(site: Site, tmp_path: Path) -> None:
    site.faults = ["cut:1000000", "cut:0", "cut:0", "cut:0"]
    with pytest.raises(UserError, match="in a row"):
        get(info_of(site), tmp_path)
    with (tmp_path / "toy.bin.part").open("ab") as part:
        part.write(BODY)
    get(info_of(site), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == BODY


def test_a_file_with_a_wrong_checksum_raises_and_is_removed(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"sha256 is {SHA256}, but {'0' * 64} was published"):
        get(info_of(site, checksum="0" * 64), tmp_path)
    assert names(tmp_path) == []


def test_an_existing_file_is_verified_and_never_removed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "toy.bin").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"remove '.*toy.bin' and type the same again"):
        get(info_of(site), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == b"mine"
    assert site.requests == []


@pytest.mark.parametrize("fault", ["status:500", "status:429", "hang up", "cut:0"])
def test_temporary_failures_are_retried(site: Site, tmp_path: Path, fault: str) -> None:
    site.faults = [fault] * 3
    listener = get(info_of(site), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == BODY
    assert sum("retrying in 0 s" in text for text in listener.messages) == 3


@pytest.mark.parametrize("fault", ["status:500", "hang up", "cut:0"])
def test_retries_end_after_some_failures_in_a_row(site: Site, tmp_path: Path, fault: str) -> None:
    site.faults = [fault] * 9
    with pytest.raises(UserError, match="4 times in a row; nothing received; type the same again"):
        get(info_of(site), tmp_path)
    assert len(site.requests) == 4


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [("0", [1, 2, 4, 8, 10]), ("5", [5, 5, 5, 8, 10]), ("9" * 99, [10] * 5), ("soon", [1, 2, 4])],
)
def test_pauses_double_and_retry_after_is_respected(
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    retry_after: str,
    expected: list[float],
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("chorale.datasets.download.download.time.sleep", pauses.append)
    site.retry_after = retry_after
    site.faults = ["status:503"] * len(expected)
    get(info_of(site), tmp_path, retry_policy=RetryPolicy(max_attempts=6, max_pause_s=10.0))
    assert pauses == expected


def test_progress_between_failures_restarts_their_count(site: Site, tmp_path: Path) -> None:
    site.body = BODY * 4
    site.faults = ["cut:1500000"] * 7
    get(info_of(site, checksum=""), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == BODY * 4


def test_failures_without_progress_are_counted(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.faults = ["cut:1500000"] * 9
    with pytest.raises(UserError, match=r"1500000 of 3000000 bytes.*; 1.4 MiB are kept"):
        get(info_of(site), tmp_path)
    assert len(site.requests) == 4


def test_control_characters_of_a_server_are_removed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Handler.responses, 404, ("gone \x1b[2J", ""))
    site.faults = ["status:404"]
    with pytest.raises(UserError, match=r"answers 404 gone \?\[2J;"):
        get(info_of(site), tmp_path)


@pytest.mark.parametrize("fault", ["status:404", "status:403", "encoded"])
def test_permanent_failures_are_not_retried(site: Site, tmp_path: Path, fault: str) -> None:
    site.faults = [fault]
    expected = r"answers (404|403|200).*see https://toys.example"
    with pytest.raises(UserError, match=expected) as raised:
        get(info_of(site), tmp_path)
    assert len(site.requests) == 1
    assert f"put it at '{tmp_path / 'toy.bin'}'" in str(raised.value)


def test_an_unreachable_server_raises_a_clear_error(site: Site, tmp_path: Path) -> None:
    site.url = "http://127.0.0.1:1/toy.bin"
    with pytest.raises(UserError, match=r"no connection \(.*refused.*4 times in a row"):
        get(info_of(site), tmp_path)


def test_a_redirect_is_followed(site: Site, tmp_path: Path) -> None:
    site.faults = ["redirect", "redirect"]
    get(info_of(site), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    "to", ["http://example.invalid/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://[/x"]
)
def test_a_redirect_to_anything_but_https_raises(site: Site, tmp_path: Path, to: str) -> None:
    site.faults = [f"redirect:{to}"]
    with pytest.raises(UserError, match=r"only https is allowed|Invalid IPv6|not allowed|302"):
        get(info_of(site), tmp_path)
    assert names(tmp_path) == []


def test_circular_redirects_end(site: Site, tmp_path: Path) -> None:
    site.faults = ["redirect"] * 50
    with pytest.raises(UserError, match="302"):
        get(info_of(site), tmp_path)
    assert len(site.requests) < 20


@pytest.mark.parametrize("url", ["http://example.invalid/x", "file:///etc/passwd", "/etc/passwd"])
def test_only_https_is_allowed_to_other_machines(site: Site, tmp_path: Path, url: str) -> None:
    site.url = url
    with pytest.raises(UserError, match="only https is allowed"):
        get(info_of(site), tmp_path)


def test_no_proxy_is_used_for_this_machine(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    get(info_of(site), tmp_path)
    assert (tmp_path / "toy.bin").exists()


def test_too_little_disk_space_raises_before_the_download(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=len(BODY) - 1)
    monkeypatch.setattr("chorale.datasets.disk.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"toy.bin needs 2.9 MiB, but .* has only 2.9 MiB free"):
        get(info_of(site), tmp_path)
    assert not (tmp_path / "toy.bin.part").exists()


def test_the_partial_file_counts_as_available_space(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        get(info_of(site), tmp_path, listener=RecordingListener(interrupt_at=2_000_000))
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr("chorale.datasets.disk.shutil.disk_usage", lambda _: usage)
    get(info_of(site), tmp_path)


def test_a_disk_that_gets_full_keeps_the_partial_file(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Iterator[bytes]:
        yield BODY[:1_000_000]
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("chorale.datasets.download.web.read_body", full)
        with pytest.raises(UserError, match=r"No space left on device.*resumes from there"):
            get(info_of(site), tmp_path)
    get(info_of(site), tmp_path)
    assert site.ranges_asked() == ["", "bytes=1000000-"]


def test_ctrl_c_leaves_a_partial_file_that_the_next_call_resumes(
    site: Site, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        get(info_of(site), tmp_path, listener=RecordingListener(interrupt_at=1_000_000))
    had = (tmp_path / "toy.bin.part").stat().st_size
    assert 1_000_000 <= had < len(BODY)
    assert names(tmp_path) == ["toy.bin.part", "toy.bin.part.json"]
    listener = get(info_of(site), tmp_path)
    assert any(text.startswith("toy.bin: resuming from ") for text in listener.messages)
    assert site.ranges_asked() == ["", f"bytes={had}-"]
    assert names(tmp_path) == ["toy.bin"]


@pytest.mark.parametrize("fault", ["", "no length"])
def test_ctrl_c_during_verification_keeps_the_download(
    site: Site, tmp_path: Path, fault: str
) -> None:
    class Interrupter(RecordingListener):
        def progress(self, what: str, done: int, total: int | None) -> None:
            if what.startswith("checking"):
                raise KeyboardInterrupt

    site.faults = [fault]
    with pytest.raises(KeyboardInterrupt):
        get(info_of(site), tmp_path, listener=Interrupter())
    get(info_of(site), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == BODY
    assert len(site.requests) == 1


@pytest.mark.parametrize("notes", ["", "[]", '{"url": 1}', '{"sha": "x"}', "\xff"])
def test_a_partial_file_without_valid_notes_is_discarded(
    site: Site, tmp_path: Path, notes: str
) -> None:
    (tmp_path / "toy.bin.part").write_bytes(b"x" * 1000)
    (tmp_path / "toy.bin.part.json").write_bytes(notes.encode("latin-1"))
    get(info_of(site), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == BODY
    assert site.ranges_asked() == [""]


def test_a_partial_file_of_another_url_is_not_resumed(site: Site, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        get(info_of(site), tmp_path, listener=RecordingListener(interrupt_at=1_000_000))
    site.url += "?v=2"
    get(info_of(site), tmp_path)
    assert site.ranges_asked() == ["", ""]


def test_an_empty_file_is_downloaded(site: Site, tmp_path: Path) -> None:
    site.body = b""
    get(info_of(site, checksum=""), tmp_path)
    assert (tmp_path / "toy.bin").read_bytes() == b""


def test_a_root_that_is_a_file_raises(site: Site, tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    with pytest.raises(UserError, match=r"root' cannot be written \(File exists\)"):
        get(info_of(site), tmp_path / "root")


def test_a_second_process_in_the_same_folder_raises(site: Site, tmp_path: Path) -> None:
    class Meddler(RecordingListener):
        def progress(self, what: str, done: int, total: int | None) -> None:
            with pytest.raises(UserError, match="another 'chorale data fetch' is running"):
                get(info_of(site), tmp_path)
            super().progress(what, done, total)

    assert get(info_of(site), tmp_path, listener=Meddler()).updates


def make_zip() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("toy-1.0/read.me", "not wanted")
        archive.writestr("toy-1.0/audio/a.wav", "sound a")
        archive.writestr("toy-1.0/audio/deep/b.wav", "sound b")
    return made.getvalue()


def make_tar() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, text in (
            ("read.me", "no"),
            ("audio/a.wav", "sound a"),
            ("audio/deep/b.wav", "b"),
        ):
            member = tarfile.TarInfo(f"toy-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return made.getvalue()


@pytest.mark.parametrize(("make", "name"), [(make_zip, "toy.zip"), (make_tar, "toy.tar.gz")])
def test_an_archive_is_unpacked_and_removed(
    site: Site, tmp_path: Path, make: Callable[[], bytes], name: str
) -> None:
    site.body = make()
    info = info_of(
        site, checksum="", file_name=name, inside="toy-1.0/audio", unpack_to="recordings"
    )
    listener = get(info, tmp_path)
    found = ["recordings", "recordings/a.wav", "recordings/deep", "recordings/deep/b.wav"]
    assert names(tmp_path) == found
    assert (tmp_path / "recordings" / "a.wav").read_text() == "sound a"
    assert listener.messages[-1] == f"'{tmp_path / 'recordings'}' has 2 files"
    assert get(info, tmp_path).messages == [
        f"'{tmp_path / 'recordings'}' exists already; nothing to do"
    ]
    assert len(site.requests) == 1


def test_an_existing_archive_is_unpacked_and_kept(site: Site, tmp_path: Path) -> None:
    (tmp_path / "toy.zip").write_bytes(make_zip())
    get(info_of(site, checksum="", file_name="toy.zip", unpack_to="all"), tmp_path)
    assert site.requests == []
    assert (tmp_path / "toy.zip").exists()
    assert (tmp_path / "all" / "toy-1.0" / "read.me").read_text() == "not wanted"


def test_ctrl_c_while_unpacking_keeps_the_archive_and_no_partial_folder(
    site: Site, tmp_path: Path
) -> None:
    class Interrupter(RecordingListener):
        def progress(self, what: str, done: int, total: int | None) -> None:
            if what.startswith("unpacking"):
                raise KeyboardInterrupt

    site.body = make_zip()
    info = info_of(site, checksum="", file_name="toy.zip", unpack_to="all")
    with pytest.raises(KeyboardInterrupt):
        get(info, tmp_path, listener=Interrupter())
    assert names(tmp_path) == ["toy.zip"]
    get(info, tmp_path)
    assert (tmp_path / "all").is_dir()
    assert len(site.requests) == 1


def test_disk_space_for_unpacking_is_checked_before_the_download(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2 * len(BODY) - 1)
    monkeypatch.setattr("chorale.datasets.disk.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"toy.zip and its content needs 5.7 MiB"):
        get(info_of(site, file_name="toy.zip", unpack_to="all"), tmp_path)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>please log in</html>", "no zip or tar"),
        (make_zip()[:-30], "no zip or tar"),
        (make_tar()[:-30], "damaged"),
    ],
    ids=["web page", "cut zip", "cut tar"],
)
def test_a_file_that_is_no_archive_raises_and_is_removed(
    site: Site, tmp_path: Path, body: bytes, why: str
) -> None:
    site.body = body
    with pytest.raises(UserError, match=f"refused: .*{why}.*it has been removed"):
        get(info_of(site, checksum="", file_name="toy.zip", unpack_to="all"), tmp_path)
    assert names(tmp_path) == []


def test_a_malicious_archive_raises_and_is_removed(site: Site, tmp_path: Path) -> None:
    site.body = make_zip()
    info = info_of(site, checksum="", file_name="toy.zip", unpack_to="all")
    with pytest.raises(UserError, match="more than the 2 entries allowed"):
        get(info, tmp_path, limits=ArchiveLimits(entries=2))
    assert names(tmp_path) == []


def test_a_rejected_archive_with_a_correct_checksum_is_kept(site: Site, tmp_path: Path) -> None:
    site.body = make_zip()
    checksum = hashlib.sha256(site.body).hexdigest()
    info = info_of(site, checksum=checksum, file_name="toy.zip", unpack_to="all")
    with pytest.raises(UserError, match=r"refused: .* it is kept as '.*toy.zip'; .*unpack it"):
        get(info, tmp_path, limits=ArchiveLimits(entries=2))
    assert names(tmp_path) == ["toy.zip"]


def parted(site: Site) -> DatasetInfo:
    downloads = [Download(site.url, f"{part or 'all'}.bin", part=part) for part in ("", "s", "m")]
    return replace(info_of(site, checksum=""), downloads=tuple(downloads))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [((), ["all", "s"]), (("m",), ["all", "m"]), (("m", "s"), ["all", "m", "s"])],
)
def test_parts_are_selected_by_name_and_the_first_by_default(
    site: Site, tmp_path: Path, parts: tuple[str, ...], expected: list[str]
) -> None:
    get(parted(site), tmp_path, parts=parts)
    assert names(tmp_path) == [f"{name}.bin" for name in expected]


def test_an_unknown_part_raises_with_the_known_ones(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown part of dataset 'toy' 'l'; .*choose from: m, s"):
        get(parted(site), tmp_path, parts=("l",))
    with pytest.raises(UserError, match="dataset 'toy' has no parts, but got --part l"):
        get(info_of(site), tmp_path, parts=("l",))


@pytest.mark.parametrize(
    ("how", "expected"),
    [("log in at Kaggle", "log in at Kaggle"), ("", "get it by hand, see https://toys.example")],
)
def test_a_dataset_without_downloads_says_what_to_do(
    site: Site, tmp_path: Path, how: str, expected: str
) -> None:
    info = replace(info_of(site), downloads=(), how_to_get=how)
    with pytest.raises(UserError, match=f"'toy' has nothing to download: {expected}"):
        get(info, tmp_path / "root")
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("to", ["http://127.0.0.1/x", "http://localhost/x"])
def test_a_redirect_never_leaves_https(to: str) -> None:
    request = Request("https://toys.example/x")
    with pytest.raises(WebError, match="from https to"):
        HttpsRedirects().redirect_request(request, io.BytesIO(), 302, "Found", HTTPMessage(), to)


def test_an_invalid_certificate_is_not_retried(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = ssl.SSLCertVerificationError("no")
    reason.verify_message = "self-signed certificate"
    tries: list[str] = []

    class Opener:
        def open(self, request: Request, timeout: float) -> None:
            tries.append(request.full_url)
            raise URLError(reason)

    monkeypatch.setattr("chorale.datasets.download.web.build_opener", lambda *_: Opener())
    with pytest.raises(UserError, match=r"certificate is not valid \(self-signed certificate\)"):
        get(info_of(site), tmp_path)
    assert len(tries) == 1


def test_a_dataset_reads_the_folder_of_its_download(site: Site, tmp_path: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("free-spoken-digit-dataset-1.0.10/recordings/7_theo_3.wav", "RIFF")
        archive.writestr("free-spoken-digit-dataset-1.0.10/README.md", "about it")
    site.body = made.getvalue()
    here = tuple(replace(one, url=site.url) for one in fsdd.INFO.downloads)
    get(replace(fsdd.INFO, downloads=here), tmp_path)
    assert fsdd.tracks(fsdd.Config(str(tmp_path)))["track_id"].tolist() == ["7_theo_3"]


@pytest.mark.parametrize("name", plugins.plugin_names(catalog))
def test_downloads_of_the_catalog_are_valid(name: str) -> None:
    info = plugins.load_plugin(catalog, name, kind="dataset").INFO
    assert info.downloads or info.how_to_get
    files = [one.file_name for one in info.downloads]
    assert len(set(files)) == len(files)
    assert set(info.checksums) <= set(files)
    for checksum in info.checksums.values():
        parse_checksum(checksum)
    for one in info.downloads:
        assert one.url.startswith("https://")
        assert Path(one.file_name).name == one.file_name
        assert ".." not in Path(one.unpack_to).parts
        assert not Path(one.unpack_to).is_absolute()
