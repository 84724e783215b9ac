"""Feature extraction on a cluster of several nodes, one of which dies; all are on this machine."""

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
from chorale.cluster.connection.nodes import cluster_resources
from chorale.cluster.transfer import maps
from chorale.cluster.transfer.maps import ITEMS_PER_WORKER, ray_map
from chorale.datasets.audio import content_hash
from chorale.datasets.errors import UserError
from chorale.datasets.features import mfcc
from chorale.datasets.store import cache
from chorale.datasets.store.feature_store import FeatureStore

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

N_NODES = 2
N_TRACKS = 18
RATE = 8_000
CONFIG = mfcc.Config(sample_rate=RATE, n_fft=256, hop_length=128, n_mels=24, n_mfcc=12)
TIMEOUT_S = 40.0


NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def cluster(shared_nodes: Any) -> Any:
    """`N_NODES` nodes of one CPU each."""
    return shared_nodes.cluster


@pytest.fixture
def tracks(tmp_path: Path) -> pd.DataFrame:
    """Tracks as the audit leaves them, one per chunk."""
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


def logged(log: Path, before: Callable[[str], None] = lambda node: None) -> Any:
    """A function that logs in the folder `log` which node began and which ended each item.

    It is a nested function, so that Ray pickles it by value: workers cannot import tests.
    """
    log.mkdir()

    def work(item: Any, *, fn: Any) -> Any:
        import ray

        node = ray.get_runtime_context().get_node_id()
        name = f"{time.time_ns()}-{node}"
        (log / f"{name}.begun").write_text(str(item))
        before(node)
        result = fn(item)
        (log / f"{name}.ended").write_text(str(item))
        return result

    return work


def items_by_node(log: Path, event: str) -> dict[str, list[str]]:
    """Node -> the items that it began, or ended."""
    items: dict[str, list[str]] = {}
    for path in sorted(log.glob(f"*.{event}")):
        items.setdefault(path.stem.split("-")[1], []).append(path.read_text())
    return items


def all_nodes_busy(log: Path) -> Callable[[str], None]:
    """Waits until every node has begun an item."""

    def wait(node: str) -> None:
        import time

        end = time.monotonic() + TIMEOUT_S
        while len({p.stem.split("-")[1] for p in log.glob("*.begun")}) < N_NODES:
            if time.monotonic() > end:
                raise TimeoutError("a node has no item")
            time.sleep(0.05)

    return wait


def through(work: Any, mapped: Any) -> Any:
    return lambda fn, items: mapped(partial(work, fn=fn), items)


def files(store: FeatureStore) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.folder.iterdir()}


def test_every_node_extracts_and_the_store_equals_that_of_one_process(
    cluster: Any, tracks: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # first, so that the nodes find its compiled transforms
    alone = cache.build_feature_store(tracks, "mfcc", CONFIG, root=tmp_path / "one")
    log = tmp_path / "log"
    work = logged(log, all_nodes_busy(log))
    monkeypatch.chdir(tmp_path)  # workers start in another folder
    relative = tracks.assign(path=[Path(path).name for path in tracks["path"]])
    with ray_map() as mapped:
        made = cache.build_feature_store(
            relative, "mfcc", CONFIG, root=Path("many"), run=through(work, mapped)
        )
    assert files(made) == files(alone)
    assert made.folder.name == alone.folder.name
    by_node = items_by_node(log, "ended")
    assert len(by_node) == N_NODES
    assert sum(map(len, by_node.values())) == N_TRACKS


def test_a_changed_file_is_named_and_the_next_build_resumes(
    cluster: Any, tracks: pd.DataFrame, tmp_path: Path
) -> None:
    bad = Path(tracks["path"][N_TRACKS - 1])
    good = bad.read_bytes()
    bad.write_bytes(good[:-2])
    root = tmp_path / "cache"
    with ray_map() as mapped, pytest.raises(UserError, match=f"{bad} has changed since"):
        cache.build_feature_store(tracks, "mfcc", CONFIG, root=root, run=mapped)
    bad.write_bytes(good)
    log = tmp_path / "log"
    with ray_map() as mapped:
        cache.build_feature_store(
            tracks, "mfcc", CONFIG, root=root, run=through(logged(log), mapped)
        )
    assert sum(map(len, items_by_node(log, "begun").values())) == 1


def test_an_item_that_kills_its_worker_at_each_attempt_is_reported(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "MAX_RETRIES", 1)
    deadly = "__import__('os')._exit(1)"
    message = r"a worker died at each attempt.*the item was \"__import__"
    with ray_map() as mapped, pytest.raises(ClusterError, match=message):
        list(mapped(eval, ["1", deadly]))


def test_a_folder_that_a_node_does_not_see_is_named(cluster: Any, tmp_path: Path) -> None:
    lost = tmp_path / "lost.npz"  # missing, though its folder exists
    with ray_map() as mapped, pytest.raises(ClusterError, match=f"does not see '{lost}', though"):
        list(mapped(eval, [f"open({str(lost)!r})"]))


def test_a_missing_file_in_a_missing_folder_raises_the_original_error(
    cluster: Any, tmp_path: Path
) -> None:
    lost = tmp_path / "no" / "lost.npz"
    with ray_map() as mapped, pytest.raises(FileNotFoundError):
        list(mapped(eval, [f"open({str(lost)!r})"]))


@pytest.mark.heavy
def test_the_number_of_items_in_flight_follows_the_number_of_cpus(
    cluster: Any,
) -> None:
    taken = 0

    def items() -> Iterator[str]:
        nonlocal taken
        for taken in range(1, 101):
            yield str(taken)

    def max_in_flight(first: int) -> int:
        in_flight = []
        for n_done in range(first, first + 20):
            assert next(results) == n_done
            in_flight.append(taken - n_done)
        return max(in_flight)

    n_nodes = int(cluster_resources().cpus)
    with ray_map() as mapped:
        results = mapped(eval, items())
        assert max_in_flight(1) == n_nodes * ITEMS_PER_WORKER - 1
        cluster.add_node(**NODE)  # it is used from now on
        assert max_in_flight(21) == (n_nodes + 1) * ITEMS_PER_WORKER - 1


@pytest.mark.heavy
def test_when_a_node_dies_only_its_current_chunk_is_extracted_again(
    cluster: Any, tracks: pd.DataFrame, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    doomed = cluster.add_node(**NODE)  # the others are for other tests as well
    doomed_id, ready = doomed.node_id, all_nodes_busy(log)

    def before(node: str) -> None:
        import time

        ready(node)

        def doomed_begun() -> int:
            return len(list(log.glob(f"*-{doomed_id}.begun")))

        if node == doomed_id and doomed_begun() > 1:
            time.sleep(10 * TIMEOUT_S)  # its second chunk never ends
        give_up = time.monotonic() + TIMEOUT_S
        while node != doomed_id and doomed_begun() < 2 and time.monotonic() < give_up:
            time.sleep(0.05)  # else the other nodes might do all chunks before

    def kill() -> None:
        while len(items_by_node(log, "begun").get(doomed_id, ())) < 2:
            if over.wait(0.05):
                return
        cluster.remove_node(doomed, allow_graceful=False)

    work, calls, over = logged(log, before), [], threading.Event()
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with ray_map() as mapped:
        made = cache.build_feature_store(
            tracks,
            "mfcc",
            CONFIG,
            root=tmp_path / "many",
            run=through(work, mapped),
            on_chunk=lambda n_done, n: calls.append((n_done, n)),
        )
    over.set()
    killer.join(TIMEOUT_S)
    assert len(items_by_node(log, "begun")[doomed_id]) == 2
    assert files(made) == files(
        cache.build_feature_store(tracks, "mfcc", CONFIG, root=tmp_path / "one")
    )
    assert calls == [(n, N_TRACKS) for n in range(1, N_TRACKS + 1)]
    begun, ended = items_by_node(log, "begun"), items_by_node(log, "ended")
    # repeated: its current chunk, and the one before if that result had not arrived
    again = sum(map(len, begun.values())) - N_TRACKS
    assert 1 <= again <= len(begun[doomed_id]) == 2
    assert sum(map(len, ended.values())) == N_TRACKS + again - 1
