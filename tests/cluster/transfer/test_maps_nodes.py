"""Extraction over a cluster of three nodes, one of which dies; all of them are on this machine."""

import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from chorale.cluster.base import ClusterError
from chorale.cluster.connection import connect as connecting
from chorale.cluster.connection import tokens
from chorale.cluster.connection.connect import cluster_size, connect
from chorale.cluster.transfer.maps import AHEAD, ray_map
from chorale.datasets.audio import content_hash
from chorale.datasets.errors import UserError
from chorale.datasets.features import mfcc
from chorale.datasets.store import cache
from chorale.datasets.store.feature_store import FeatureStore

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

N_NODES = 3
N_TRACKS = 18
RATE = 8_000
CONFIG = mfcc.Config(sample_rate=RATE, n_fft=256, hop_length=128, n_mels=24, n_mfcc=12)
PATIENCE_S = 40.0


@pytest.fixture(scope="module")
def cluster(no_private_ray: None) -> Iterator[Any]:
    """Three nodes of one CPU each on loopback, with a token and a temporary folder of their own.

    The private Ray of this folder's other tests ends first; those that follow get a new one.
    """
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets need a short path
    checkout = Path(connecting.__file__).parents[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(checkout))
        for name in ("ray._private.services", "ray.util"):  # else it leaves loopback by itself
            patch.setattr(f"{name}.get_node_ip_address", lambda *_: "127.0.0.1")
        for name in ("_private.utils.write_ray_address", "_common.utils.reset_ray_address"):
            patch.setattr(f"ray.{name}", lambda *_, **__: None)  # a person's cluster is not ours
        tokens.read_again()
        node = {
            "num_cpus": 1,
            "node_ip_address": "127.0.0.1",
            "include_dashboard": False,
            "object_store_memory": 80 * 2**20,
            "temp_dir": folder,
        }
        made = Cluster(initialize_head=True, head_node_args=node)
        try:
            for _ in range(N_NODES - 1):
                add_node(made)
            with connect(made.address):
                yield made
        finally:
            made.shutdown()
            shutil.rmtree(folder, ignore_errors=True)
    tokens.read_again()


def add_node(cluster: Any) -> None:
    cluster.add_node(num_cpus=1, node_ip_address="127.0.0.1", object_store_memory=80 * 2**20)


@pytest.fixture
def tracks(tmp_path: Path) -> pd.DataFrame:
    """Tracks as the audit leaves them; a chunk has one of them."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(N_TRACKS):
        path = tmp_path / f"{i:02}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(2000 + 200 * i), RATE)
        rows.append((f"{i:02}", str(path), content_hash(path), 1.0))
    return pd.DataFrame(rows, columns=["track_id", "path", "content", "duration_s"])


@pytest.fixture(autouse=True)
def _one_track_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chorale.datasets.chunks.CHUNK_TRACKS", 1)


def noted(book: Path, before: Callable[[str], None] = lambda node: None) -> Any:
    """Work on an item that is noted in `book`: who began it and who ended it.

    It is a function within a function, so that Ray sends it as it is: workers know no test files.
    """
    book.mkdir()

    def work(item: Any, *, fn: Any) -> Any:
        import ray

        node = ray.get_runtime_context().get_node_id()
        name = f"{time.time_ns()}-{node}"
        (book / f"{name}.begun").write_text(str(item))
        before(node)
        result = fn(item)
        (book / f"{name}.ended").write_text(str(item))
        return result

    return work


def nodes_in(book: Path, what: str) -> dict[str, list[str]]:
    """Node -> the items that it began, or ended."""
    found: dict[str, list[str]] = {}
    for path in sorted(book.glob(f"*.{what}")):
        found.setdefault(path.stem.split("-")[1], []).append(path.read_text())
    return found


def all_at_work(book: Path) -> Callable[[str], None]:
    """Waits until every node has begun something."""

    def wait(node: str) -> None:
        import time

        end = time.monotonic() + PATIENCE_S
        while len({p.stem.split("-")[1] for p in book.glob("*.begun")}) < N_NODES:
            if time.monotonic() > end:
                raise TimeoutError("some node has nothing to do")
            time.sleep(0.05)

    return wait


def through(work: Any, mapped: Any) -> Any:
    return lambda fn, items: mapped(partial(work, fn=fn), items)


def files(store: FeatureStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.folder.iterdir()}


def test_every_node_extracts_and_the_store_is_that_of_one_process(
    cluster: Any, tracks: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # before the nodes, which find the compiled transforms that it leaves
    alone = cache.build(tracks, "mfcc", CONFIG, root=tmp_path / "one")
    book = tmp_path / "book"
    work = noted(book, all_at_work(book))
    monkeypatch.chdir(tmp_path)  # which no worker does by itself
    near = tracks.assign(path=[Path(path).name for path in tracks["path"]])
    with ray_map() as mapped:
        made = cache.build(near, "mfcc", CONFIG, root=Path("many"), run=through(work, mapped))
    assert files(made) == files(alone)
    assert made.folder.name == alone.folder.name
    by_node = nodes_in(book, "ended")
    assert len(by_node) == N_NODES
    assert sum(map(len, by_node.values())) == N_TRACKS


def test_a_file_that_changed_is_told_by_name_and_the_next_build_goes_on(
    cluster: Any, tracks: pd.DataFrame, tmp_path: Path
) -> None:
    bad = Path(tracks["path"][N_TRACKS - 1])
    good = bad.read_bytes()
    bad.write_bytes(good[:-2])
    root = tmp_path / "cache"
    with ray_map() as mapped, pytest.raises(UserError, match=f"{bad} has changed since"):
        cache.build(tracks, "mfcc", CONFIG, root=root, run=mapped)
    bad.write_bytes(good)
    book = tmp_path / "book"
    with ray_map() as mapped:
        cache.build(tracks, "mfcc", CONFIG, root=root, run=through(noted(book), mapped))
    assert sum(map(len, nodes_in(book, "begun").values())) == 1


def test_a_chunk_that_kills_its_worker_each_time_is_told_as_such(cluster: Any) -> None:
    deadly = "__import__('os')._exit(1)"
    told = r"a worker died at each attempt.*its work was \"__import__"
    with ray_map() as mapped, pytest.raises(ClusterError, match=told):
        list(mapped(eval, ["1", deadly]))


def test_a_folder_that_a_node_does_not_see_is_named(cluster: Any, tmp_path: Path) -> None:
    lost = tmp_path / "lost.npz"  # the node's own folder of that name would have it
    with ray_map() as mapped, pytest.raises(ClusterError, match=f"does not see '{lost}', though"):
        list(mapped(eval, [f"open({str(lost)!r})"]))


def test_other_missing_files_are_the_works_own_business(cluster: Any, tmp_path: Path) -> None:
    lost = tmp_path / "no" / "lost.npz"
    with ray_map() as mapped, pytest.raises(FileNotFoundError):
        list(mapped(eval, [f"open({str(lost)!r})"]))


def test_as_many_items_are_on_their_way_as_there_are_cpus_in_all_nodes_and_no_more(
    cluster: Any,
) -> None:
    taken = 0

    def items() -> Iterator[str]:
        nonlocal taken
        for taken in range(1, 101):
            yield str(taken)

    def most_ahead(first: int) -> int:
        ahead = []
        for n_done in range(first, first + 20):
            assert next(results) == n_done
            ahead.append(taken - n_done)
        return max(ahead)

    n_nodes = int(cluster_size().cpus)
    with ray_map() as mapped:
        results = mapped(eval, items())
        assert most_ahead(1) == n_nodes * AHEAD - 1
        add_node(cluster)  # it is put to use from then on
        assert most_ahead(21) == (n_nodes + 1) * AHEAD - 1


def test_a_node_that_dies_costs_the_chunk_it_was_at_and_nothing_else(
    cluster: Any, tracks: pd.DataFrame, tmp_path: Path
) -> None:
    book = tmp_path / "book"
    add_node(cluster)
    doomed = next(iter(cluster.worker_nodes))
    doomed_id, ready = doomed.node_id, all_at_work(book)

    def before(node: str) -> None:
        import time

        ready(node)
        if node == doomed_id and len(list(book.glob(f"*-{node}.begun"))) > 1:
            time.sleep(10 * PATIENCE_S)  # its second chunk never ends

    def kill() -> None:
        while len(nodes_in(book, "begun").get(doomed_id, ())) < 2:
            if over.wait(0.05):
                return
        cluster.remove_node(doomed, allow_graceful=False)

    work, told, over = noted(book, before), [], threading.Event()
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with ray_map() as mapped:
        made = cache.build(
            tracks,
            "mfcc",
            CONFIG,
            root=tmp_path / "many",
            run=through(work, mapped),
            on_chunk=lambda n_done, n: told.append((n_done, n)),
        )
    over.set()
    killer.join(PATIENCE_S)
    if len(nodes_in(book, "begun").get(doomed_id, ())) < 2:
        pytest.skip("the others were done before the node got the chunk that it should die at")
    assert files(made) == files(cache.build(tracks, "mfcc", CONFIG, root=tmp_path / "one"))
    assert told == [(n, N_TRACKS) for n in range(1, N_TRACKS + 1)]
    begun, ended = nodes_in(book, "begun"), nodes_in(book, "ended")
    # done again is what it was at, and what it had ended if its result was still on its way
    again = sum(map(len, begun.values())) - N_TRACKS
    assert 1 <= again <= len(begun[doomed_id]) == 2
    assert sum(map(len, ended.values())) == N_TRACKS + again - 1
