"""Load test of `chorale serve`: sustained rate, overload, killed replicas, oversized bodies.

    python tests/benchmarks/load_serve.py hold BUNDLE --audio FOLDER [--rate 0] [--minutes 10]
    python tests/benchmarks/load_serve.py overload BUNDLE --audio FOLDER --rate 60 [--seconds 30]
    python tests/benchmarks/load_serve.py kills BUNDLE --audio FOLDER --rate 20 [--minutes 5]
    python tests/benchmarks/load_serve.py shadow BUNDLE --audio FOLDER --rate 5 [--minutes 10]
    python tests/benchmarks/load_serve.py cutoff BUNDLE [--mb 200] [--replicas 2]

Requests are sent at fixed times whether or not earlier ones are answered, and latency counts from
the due time of a request (open loop, no coordinated omission). Client and server share this
machine's cores. With `--rate 0` the sustained rate is searched first.
"""

import argparse
import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

HOST = "127.0.0.1"
LOST = 0
"""The status of a request whose connection broke."""
STEP_S = 10.0
"""How long each rate is tried while the sustained rate is searched, in seconds."""
GROWTH = 1.25
HEADROOM = 0.8
"""The sustained rate, as a share of the highest rate that passed."""
CALM_S = 2.0
"""The server has recovered when all requests of so many seconds are answered as before."""
ANSWER_S = 60.0
IDLE_LIMIT_S = 3.0
"""A connection idle for longer is not reused, in seconds; uvicorn closes those idle for 5 s."""
REPLICA = "ray::ServeReplica"


@dataclass
class Tally:
    """Results of some requests: (due time in s, latency in s, status) each."""

    rows: list[tuple[float, float, int]] = field(default_factory=list)
    n_retried: int = 0

    @property
    def statuses(self) -> Counter[int]:
        return Counter(status for *_, status in self.rows)

    def n_server_faults(self) -> int:
        """The number of 5xx answers (503 included) and of broken connections."""
        return sum(n for status, n in self.statuses.items() if status >= 500 or status == LOST)

    def latency_ms(self, percent: float) -> float:
        """A percentile of the latencies of requests answered with 200."""
        times = [took for _, took, status in self.rows if status == 200]
        return 1000 * float(np.percentile(times, percent)) if times else float("inf")


class Client:
    """A minimal HTTP client that posts bodies to `/predict` over keep-alive connections."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, body: bytes) -> int:
        """The status of one request; `LOST` where the connection broke."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._post(body)
        except (OSError, ValueError, IndexError, EOFError):
            return LOST

    async def _post(self, body: bytes) -> int:
        reader, writer = self._idle_connection() or await asyncio.open_connection(HOST, self._port)
        keep = False
        try:
            head = (
                f"POST /predict HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: audio/wav\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            if "content-length" in headers:
                await reader.readexactly(int(headers["content-length"]))
                keep = headers.get("connection") != "close"
            return int(lines[0].split()[1])
        finally:
            if keep:
                self._idle.append((time.perf_counter(), reader, writer))
            else:
                writer.close()

    def _idle_connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """The most recently used connection that is still open; None if there is none."""
        while self._idle:
            since_s, reader, writer = self._idle.pop()
            if time.perf_counter() - since_s < IDLE_LIMIT_S and not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    def close(self) -> None:
        """Closes all connections."""
        for *_, writer in self._idle:
            writer.close()


async def arrivals(
    port: int, clips: Sequence[bytes], *, rate: float, seconds: float, seed: int, tries: int = 1
) -> Tally:
    """Sends clips at a fixed rate, each up to `tries` times until it is answered with 200."""
    rng, client, tally = random.Random(seed), Client(port), Tally()

    async def one(body: bytes, due_s: float) -> None:
        status = LOST
        for attempt in range(tries):
            status = await client.post(body)
            tally.n_retried += attempt > 0
            if status == 200:
                break
        tally.rows.append((due_s - began_s, time.perf_counter() - due_s, status))

    began_s, tasks = time.perf_counter(), set()
    for i in range(int(rate * seconds)):
        due_s = began_s + i / rate
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        task = asyncio.create_task(one(rng.choice(clips), due_s))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    client.close()
    return tally


@dataclass(frozen=True)
class Server:
    """A running server and its process tree."""

    port: int
    process: "subprocess.Popen[str]"

    def tree(self) -> list[psutil.Process]:
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def rss_mb(self) -> float:
        """Memory of the process tree, in MB."""
        total = 0
        for one in self.tree():
            with suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
        return total / 1e6

    def replicas(self) -> list[int]:
        """The pids of Ray Serve's replicas."""
        found = []
        for one in self.tree():
            with suppress(psutil.NoSuchProcess):
                if REPLICA in " ".join(one.cmdline()):
                    found.append(one.pid)
        return found


@contextmanager
def serving(bundle: Path, *args: str) -> Iterator[Server]:
    """Starts `chorale serve` on a free port; ends it by SIGINT."""
    command = [sys.executable, "-m", "chorale.search", "serve", str(bundle), "--port", "0", *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = None
        while port is None and (line := process.stdout.readline()):
            port = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        if port is None:
            raise RuntimeError(f"the server ended with {process.wait()}")
        yield Server(int(port[1]), process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def show(title: str, tally: Tally, seconds: float) -> None:
    """Prints one row of figures."""
    n = len(tally.rows)
    print(
        f"{title:<22} {n:7} requests {n / seconds:7.1f}/s   p50 {tally.latency_ms(50):7.1f}  "
        f"p95 {tally.latency_ms(95):7.1f}  p99 {tally.latency_ms(99):7.1f} ms   "
        f"by status {dict(sorted(tally.statuses.items()))}",
        flush=True,
    )


async def search_rate(port: int, clips: Sequence[bytes], *, p99_ms: float, seed: int) -> float:
    """The sustained rate: `HEADROOM` times the highest rate within the p99 and without a fault."""
    rate, best = 10.0, 0.0
    while True:
        tally = await arrivals(port, clips, rate=rate, seconds=STEP_S, seed=seed)
        show(f"trying {rate:.0f}/s", tally, STEP_S)
        if tally.n_server_faults() or tally.latency_ms(99) > p99_ms:
            return HEADROOM * best
        best, rate = rate, rate * GROWTH


async def hold(
    port: int, clips: Sequence[bytes], *, rate: float, seconds: float, p99_ms: float, seed: int
) -> bool:
    """Whether the server sustains a rate within the p99 and without a fault."""
    tally = await arrivals(port, clips, rate=rate, seconds=seconds, seed=seed)
    show(f"sustained {rate:.1f}/s", tally, seconds)
    return not tally.n_server_faults() and tally.latency_ms(99) <= p99_ms


@dataclass(frozen=True)
class Overload:
    """Tallies before, during and after an overload; and when the server had recovered, in s."""

    before: Tally
    during: Tally
    after: Tally
    recovered_s: float


async def overload(
    port: int,
    clips: Sequence[bytes],
    *,
    rate: float,
    seconds: float,
    seed: int,
    times: float = 10,
    after_s: float = 20,
) -> Overload:
    """Sends `times` the rate, with phases of the normal rate before and after."""
    calm_s = min(10.0, after_s)
    before = await arrivals(port, clips, rate=rate, seconds=calm_s, seed=seed)
    during = await arrivals(port, clips, rate=times * rate, seconds=seconds, seed=seed + 1)
    after = await arrivals(port, clips, rate=rate, seconds=after_s, seed=seed + 2)
    return Overload(before, during, after, _recovery_s(after, 2 * before.latency_ms(99)))


def _recovery_s(tally: Tally, usual_ms: float) -> float:
    """The first second from which all requests due within `CALM_S` are answered as usual."""
    last_s = max(due_s for due_s, *_ in tally.rows)
    for start_s in range(int(last_s - CALM_S) + 1):
        window = [row for row in tally.rows if start_s <= row[0] < start_s + CALM_S]
        if all(status == 200 and 1000 * took_s <= usual_ms for _, took_s, status in window):
            return float(start_s)
    return float("inf")


async def kills(
    served: Server,
    clips: Sequence[bytes],
    *,
    rate: float,
    seconds: float,
    every_s: float,
    seed: int,
) -> tuple[Tally, int]:
    """Sends with one retry while a replica is killed every `every_s`; also the number of kills."""
    rng, n_killed = random.Random(seed), 0
    task = asyncio.create_task(
        arrivals(served.port, clips, rate=rate, seconds=seconds, seed=seed, tries=2)
    )
    while True:
        done, _ = await asyncio.wait([task], timeout=every_s)
        if done:
            return task.result(), n_killed
        if alive := served.replicas():
            os.kill(rng.choice(alive), signal.SIGKILL)
            n_killed += 1
            print(f"  killed one of {len(alive)} replicas", flush=True)


@dataclass(frozen=True)
class Cutoff:
    """The answer to a body without a length: status, MB sent, and the server's memory in MB."""

    status: int
    sent_mb: float
    before_mb: float
    peak_mb: float
    after_mb: float


async def cutoff(served: Server, *, mb: int) -> Cutoff:
    """Sends a body of so many MB in chunks, as fast as the server reads it."""
    before_mb = peak_mb = served.rss_mb()
    reader, writer = await asyncio.open_connection(HOST, served.port)
    head = f"POST /predict HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: audio/wav\r\n"
    writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
    answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
    sent, chunk = 0, b"F4240\r\n" + bytes(1_000_000) + b"\r\n"
    with suppress(ConnectionError):  # the server need not read all of it
        while sent < mb and not answer.done():
            writer.write(chunk)
            await writer.drain()
            sent += 1
            peak_mb = max(peak_mb, await asyncio.to_thread(served.rss_mb))
    status = int((await answer).split()[1])
    writer.close()
    for _ in range(20):
        await asyncio.sleep(0.1)
        after_mb = served.rss_mb()
        peak_mb = max(peak_mb, after_mb)
    return Cutoff(status, float(sent), before_mb, peak_mb, after_mb)


async def shadow(
    ports: tuple[int, int], clips: Sequence[bytes], *, rate: float, rounds: int, seed: int
) -> tuple[Tally, Tally, list[tuple[float, float]]]:
    """Sends the same requests to a server and to one with a shadow, in turns.

    Also the differences of a round's median and 99th percentile, in ms.
    """
    both, differences = (Tally(), Tally()), []
    for i in range(rounds):
        found = [Tally(), Tally()]
        for k in (0, 1) if i % 2 else (1, 0):
            found[k] = await arrivals(ports[k], clips, rate=rate, seconds=STEP_S, seed=seed + i)
            both[k].rows.extend(found[k].rows)
        p50, p99 = (found[1].latency_ms(p) - found[0].latency_ms(p) for p in (50, 99))
        differences.append((p50, p99))
    return *both, differences


def clips_of(folder: Path, *, n: int, seed: int) -> list[bytes]:
    """The bytes of a random sample of a folder's recordings."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac", ".mp3"))
    if not paths:
        raise SystemExit(f"no wav, flac or mp3 below '{folder}'")
    chosen = random.Random(seed).sample(paths, min(n, len(paths)))
    return [path.read_bytes() for path in chosen]


def main() -> int:
    parser = argparse.ArgumentParser(description="chorale serve under load")
    parser.add_argument("what", choices=["hold", "overload", "kills", "shadow", "cutoff"])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--audio", type=Path)
    parser.add_argument("--rate", type=float, default=0.0, help="requests per second; 0: search it")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=30.0, help="of the overload")
    parser.add_argument("--every-s", type=float, default=30.0, help="between two kills")
    parser.add_argument(
        "--p99-ms", type=float, default=250.0, help="latency limit of a sustained rate"
    )
    parser.add_argument("--replicas", type=int, default=0, help="number of Ray Serve replicas")
    parser.add_argument("--mb", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    replicas = args.replicas or (2 if args.what == "kills" else 0)
    more = ("--address", "local", "--replicas", str(replicas)) if replicas else ()
    if args.what == "shadow":
        return _measure_shadow(args)
    with serving(args.bundle, *more) as served:
        return _measure(args, served)


def _measure_shadow(args: argparse.Namespace) -> int:
    clips = clips_of(args.audio, n=200, seed=args.seed)
    rounds = max(2, int(60 * args.minutes / (2 * STEP_S)))
    with (
        serving(args.bundle) as plain,
        serving(args.bundle, "--shadow", str(args.bundle)) as watched,
    ):
        ports = (plain.port, watched.port)
        for port in ports:
            asyncio.run(arrivals(port, clips, rate=args.rate or 5, seconds=5, seed=args.seed))
        without, beside, differences = asyncio.run(
            shadow(ports, clips, rate=args.rate or 5, rounds=rounds, seed=args.seed)
        )
        url = f"http://{HOST}:{watched.port}/metrics"
        with urllib.request.urlopen(url) as answer:
            text = answer.read().decode()
    show("without a shadow", without, rounds * STEP_S)
    show("with a shadow", beside, rounds * STEP_S)
    for name, values in zip(("p50", "p99"), np.array(differences).T, strict=True):
        mean, error = values.mean(), values.std(ddof=1) / np.sqrt(rounds)
        print(f"{name}: {mean:+.2f} ms with a shadow, standard error {error:.2f}, {rounds} rounds")
    print(*(line for line in text.splitlines() if re.match(r"chorale_shadow_\w+_total", line)))
    return 0


def _measure(args: argparse.Namespace, served: Server) -> int:
    if args.what == "cutoff":
        ok = True
        for _ in range(3):  # memory after the first one is what stays allocated
            cut = asyncio.run(cutoff(served, mb=args.mb))
            print(
                f"status {cut.status} after {cut.sent_mb:.0f} of {args.mb} MB; memory "
                f"{cut.before_mb:.0f} MB before, {cut.peak_mb:.0f} peak, "
                f"{cut.after_mb:.0f} after"
            )
            ok = ok and cut.status == 413
        return 0 if ok else 1
    if args.audio is None:
        raise SystemExit("--audio FOLDER: real recordings to send")
    clips, seed = clips_of(args.audio, n=200, seed=args.seed), args.seed
    print(f"{len(clips)} recordings of {np.mean([*map(len, clips)]) / 1000:.0f} kB on average")
    asyncio.run(arrivals(served.port, clips, rate=10, seconds=3, seed=seed))  # warm-up
    rate = args.rate or asyncio.run(search_rate(served.port, clips, p99_ms=args.p99_ms, seed=seed))
    if not rate:
        print("the server does not sustain even the lowest rate")
        return 1
    seconds = 60 * args.minutes
    if args.what == "hold":
        ok = asyncio.run(
            hold(served.port, clips, rate=rate, seconds=seconds, p99_ms=args.p99_ms, seed=seed)
        )
        print(f"memory of the server: {served.rss_mb():.0f} MB")
    elif args.what == "overload":
        found = asyncio.run(
            overload(served.port, clips, rate=rate, seconds=args.seconds, seed=seed)
        )
        show("before", found.before, 10)
        show("ten times the rate", found.during, args.seconds)
        show("after", found.after, 20)
        print(f"p99 within twice the normal one after {found.recovered_s:.1f} s")
        ok = set(found.during.statuses) <= {200, 503} and found.recovered_s <= 10
    else:
        tally, n_killed = asyncio.run(
            kills(served, clips, rate=rate, seconds=seconds, every_s=args.every_s, seed=seed)
        )
        show(f"{n_killed} kills", tally, seconds)
        n_lost = len(tally.rows) - tally.statuses[200]
        share = n_lost / len(tally.rows)
        print(f"{tally.n_retried} were sent twice, {n_lost} lost: {100 * share:.3f} %")
        ok = share < 0.001
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
