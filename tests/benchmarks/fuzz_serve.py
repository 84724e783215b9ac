"""Fuzzing of the HTTP app: mutated uploads, which it must answer with a prediction or a 4xx error.

    python tests/benchmarks/fuzz_serve.py BUNDLE [--uploads 10000] [--seed 0]

Each upload is generated from seed and index: a mutated file (`fuzz_audio`), a valid one with an
unusual sample rate or several channels, a wrong header, text, a zip, an empty body; as a body or a
form, which may be malformed; with a content type and a length that may be wrong. The app runs in
this process, so that tracebacks are caught; the decoder is a child process as usual. Allowed are
200, 413, 415 and 422, with a reason in JSON; all else is printed with seed and index.
"""

import argparse
import importlib.util
import io
import struct
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import soundfile

ALLOWED = (200, 413, 415, 422)
KINDS = (
    "audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "application/octet-stream", "",
    "text/plain", "image/png", "application/json",
    "multipart/form-data", "multipart/form-data; boundary=",
    "multipart/form-data; boundary=" + "b" * 300, "a" * 3000, "audio/wav; charset=\xff",
)  # fmt: skip
BOUNDARY = b"fuzz"
QUERIES = (
    "", "?top=1", "?timeline=true&segment_s=0.5&peaks=4000", "?timeline=true&peaks=1", "?top=0",
    "?segment_s=nan", "?peaks=x", "?top=1&top=2", "?" + "x" * 2000,
)  # fmt: skip


def _mutations() -> ModuleType:
    """The module `fuzz_audio`, loaded from the same folder."""
    path = Path(__file__).with_name("fuzz_audio.py")
    spec = importlib.util.spec_from_file_location("fuzz_audio", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


fuzz_audio = _mutations()


@dataclass(frozen=True)
class Upload:
    """One request; `is_chunked` is without a content length."""

    kind: str
    query: str
    headers: dict[str, str]
    body: bytes
    is_chunked: bool


@dataclass
class FuzzResult:
    """Statuses, reasons and failures of some requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    """The duration in seconds, and the index."""


def upload(seed: int, index: int) -> Upload:
    """The upload number `index`."""
    rng = np.random.default_rng([seed, index])
    kind, body = _body(seed, index, rng)
    headers = {"content-type": str(rng.choice(KINDS[:5]))}
    if rng.random() < 0.3:
        body, headers["content-type"] = _form(body, rng)
        kind = f"form of {kind}"
    if rng.random() < 0.15:
        headers["content-type"] = str(rng.choice(KINDS))
    query = str(rng.choice(QUERIES)) if rng.random() < 0.3 else ""
    if rng.random() < 0.05:
        wrong_length = rng.choice(["0", "-1", "1e9", "99999999999999", "abc", str(len(body) + 1)])
        return Upload(
            f"wrong length, {kind}", query, headers | {"content-length": wrong_length}, body, False
        )
    return Upload(kind, query, headers, body, bool(rng.random() < 0.3))


def _body(seed: int, index: int, rng: np.random.Generator) -> tuple[str, bytes]:
    choice = rng.random()
    if choice < 0.6:
        kind, data = fuzz_audio.mutated(seed, index)
        return f"mutated {kind}", data
    if choice < 0.7:
        rate = int(rng.choice([1, 500, 1000, 4001, 11025, 44099, 96000, 192000, 384000, 768000]))
        return "odd rate", _wav(rng, rate=rate, channels=int(rng.integers(1, 5)))
    if choice < 0.8:
        return "wrong header", _wrong_header(rng)
    if choice < 0.85:
        return "tiny", _wav(rng, rate=8000, channels=1, n=int(rng.integers(0, 9)))
    if choice < 0.88:
        return "nothing", b""
    if choice < 0.92:
        return "text", bytes(rng.integers(32, 127, int(rng.integers(1, 5000)), np.uint8))
    if choice < 0.95:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("a.wav", bytes(1_000_000))
        return "zip", file.getvalue()
    if choice < 0.97:
        return "long", bytes(int(rng.integers(900_000, 1_300_000)))
    return "noise", rng.bytes(int(rng.integers(1, 20_000)))


def _wav(rng: np.random.Generator, *, rate: int, channels: int, n: int | None = None) -> bytes:
    file = io.BytesIO()
    wave = 0.3 * rng.standard_normal((int(rng.integers(1, 9000)) if n is None else n, channels))
    soundfile.write(file, wave, rate, format="WAV")
    return file.getvalue()


def _wrong_header(rng: np.random.Generator) -> bytes:
    """A WAV header of ten hours, of no samples, or of 4 GB, with little data after it."""
    rate = int(rng.choice([0, 1, 8000, 44100, 2**32 - 1]))
    n = int(rng.choice([0, 1, 10 * 3600 * 8000, 2**31, 2**32 - 1]))
    channels, bits = int(rng.choice([0, 1, 2, 255, 65535])), int(rng.choice([0, 8, 16, 24, 64]))
    width = channels * bits // 8 % 65536
    fmt = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * width % 2**32, width, bits)
    data = rng.bytes(int(rng.integers(0, 2000)))
    riff = struct.pack("<I", (36 + n) % 2**32)
    return b"RIFF" + riff + b"WAVEfmt " + fmt + b"data" + struct.pack("<I", n) + data


def _form(body: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    name = str(rng.choice(["file", "file", "file", "other", "", "file\0", "f" * 5000]))
    head = f'Content-Disposition: form-data; name="{name}"; filename="a.wav"\r\n\r\n'.encode()
    form = b"--" + BOUNDARY + b"\r\n" + head + body + b"\r\n--" + BOUNDARY + b"--\r\n"
    if rng.random() < 0.3:
        form = form[: int(rng.integers(0, len(form)))]
    if rng.random() < 0.2:
        form = form.replace(b"\r\n", b"\n", int(rng.integers(1, 4)))
    boundary = str(rng.choice(["fuzz", "fuzz", "fuzz", "other", "f", '"fuzz"', "fuzz; x=\0"]))
    return form, f"multipart/form-data; boundary={boundary}"


def _in_chunks(body: bytes) -> Iterator[bytes]:
    for i in range(0, len(body), 4096):
        yield body[i : i + 4096]


def fuzz(client: Any, *, n: int, seed: int, begin: int = 0) -> FuzzResult:
    """Sends `n` uploads; after a failure and at the end it checks that a valid file is answered.

    Args:
        client: of `fastapi.testclient`, with `raise_server_exceptions` on.
        n: the number of uploads.
        seed: of the uploads.
        begin: the index of the first one.
    """
    found = FuzzResult()
    valid = _wav(np.random.default_rng(0), rate=8000, channels=1, n=8000)
    for index in range(begin, begin + n):
        one = upload(seed, index)
        content: Any = _in_chunks(one.body) if one.is_chunked else one.body
        headers = {k: v.encode("latin-1") for k, v in one.headers.items()}
        began_s, wrong = time.perf_counter(), ""
        try:
            answer = client.post(f"/predict{one.query}", content=content, headers=headers)
        except Exception as error:  # any exception of the app is a failure
            found.statuses[500] += 1
            wrong = f"{type(error).__name__}: {error}"
        else:
            found.statuses[answer.status_code] += 1
            body = answer.json()
            if answer.status_code not in ALLOWED:
                wrong = f"status {answer.status_code}: {body}"
            elif answer.status_code == 200:
                total = sum(body["proba"].values())
                wrong = "" if abs(total - 1) < 1e-3 else f"probabilities sum to {total}"
            else:
                found.reasons[body["error"]] += 1
                wrong = "" if body["detail"] else "no reason"
        found.slowest = max(found.slowest, (time.perf_counter() - began_s, index))
        if wrong:
            found.failures.append(f"seed {seed}, index {index} ({one.kind}): {wrong}")
        if wrong or index == begin + n - 1:
            status = client.post("/predict", content=valid).status_code
            if status != 200:
                found.failures.append(f"after index {index} a valid file gets {status}")
    return found


def main() -> int:
    from fastapi.testclient import TestClient

    from chorale.search.bundle.bundle import Bundle
    from chorale.search.bundle.predictor import Predictor
    from chorale.search.champion.serve.app import create_app
    from chorale.search.champion.serve.limits import RequestLimits

    parser = argparse.ArgumentParser(description="Fuzzing of the HTTP app")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--uploads", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    app = create_app(
        Predictor(Bundle.open(args.bundle)), limits=RequestLimits(body_mb=1, duration_s=60)
    )
    total, began_s, step = FuzzResult(), time.perf_counter(), 500
    with TestClient(app) as client:
        for begin in range(0, args.uploads, step):
            n = min(step, args.uploads - begin)
            found = fuzz(client, n=n, seed=args.seed, begin=begin)
            total.statuses += found.statuses
            total.reasons += found.reasons
            total.failures += found.failures
            total.slowest = max(total.slowest, found.slowest)
            print(f"{begin + n} of {args.uploads}, {len(total.failures)} failures", flush=True)
    took_s = time.perf_counter() - began_s
    slowest_s, at = total.slowest
    print(f"{args.uploads} uploads in {took_s:.0f} s; slowest {slowest_s:.2f} s (index {at})")
    for status, n in sorted(total.statuses.items()):
        print(f"{n:8}  {status}")
    for reason, n in total.reasons.most_common():
        print(f"{n:12}  {reason}")
    for line in total.failures[:20]:
        print(line)
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
