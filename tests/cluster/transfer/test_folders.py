"""Files of trials on a node that does not see the driver's folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from chorale.cluster.base import ClusterError, Decision, End, Outcome, Report, Resources, TrialSpec
from chorale.cluster.transfer import folders
from chorale.cluster.transfer.folders import Carried, Keeper, Shared

NODE = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}


class Here:
    """A `Keeper` that is no actor: what its calls return is there at once."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def remote(*args: Any) -> Any:
            self.calls.append(name)
            return getattr(self._keeper, name)(*args)

        return type("Method", (), {"remote": staticmethod(remote)})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The driver's folder, with a store and a trial that was begun before."""
    monkeypatch.setattr("chorale.cluster.transfer.folders.ray.get", lambda value: value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()
    root = tmp_path / "runs"
    fill(root)
    return root


def fill(root: Path) -> None:
    (root / "store").mkdir(parents=True)
    (root / "store" / "frames").write_bytes(bytes(range(256)))
    (root / "trial" / "state").mkdir(parents=True)
    (root / "trial" / "state" / "state.json").write_text("old")


def unseen(root: Path, keeper: Here | None = None) -> Shared:
    """The folder as it is for a process that cannot read the driver's mark."""
    return Shared(str(root), ".seen", "token", keeper or Here(Keeper(str(root))))


def spec_of(root: Path, trial_id: int = 0, **payload: Any) -> TrialSpec:
    return TrialSpec(trial_id, payload, reads=(str(root / "store"),), writes=(str(root / "trial"),))


def go_on(step: int, metrics: Mapping[str, float]) -> Decision:
    return Decision.CONTINUE


def train(spec: TrialSpec, report: Report) -> dict[str, Any]:
    """Reads, goes on from its state, and leaves files."""
    store, trial = Path(spec.path(spec.reads[0])), Path(spec.path(spec.writes[0]))
    before = (trial / "state" / "state.json").read_text()
    (trial / "state" / "new").write_text("tensors")
    (trial / "state" / "state.json").write_text("new")
    report(1, {})
    (trial / "metrics.csv").write_text("epoch")
    (trial / "state" / "new").unlink()
    if spec.payload.get("fail"):
        raise ValueError("no luck")
    frames = store / "frames"
    return {
        "before": before,
        "store": str(store),
        "frames": frames.read_bytes(),
        "copy": frames.stat().st_ino,
        "seen": Path(spec.reads[0]).exists(),
    }


def left(root: Path) -> dict[str, str]:
    trial = root / "trial"
    return {str(p.relative_to(trial)): p.read_text() for p in trial.rglob("*") if p.is_file()}


END = {"state/state.json": "new", "metrics.csv": "epoch"}


def test_where_the_folder_is_seen_nothing_travels(root: Path) -> None:
    (root / ".seen").write_text("token")
    keeper = Here(Keeper(str(root)))
    value = Carried(train, unseen(root, keeper))(spec_of(root), go_on)
    assert (value["before"], value["store"]) == ("old", str(root / "store"))
    assert keeper.calls == []
    assert left(root) == END


def test_a_folder_of_the_same_name_that_another_machine_has_is_not_taken_for_it(root: Path) -> None:
    folder = unseen(root)
    assert not folder.is_seen()
    (root / ".seen").write_text("that of another driver")
    assert not folder.is_seen()


def test_what_a_trial_reads_is_fetched_and_what_it_writes_is_sent_back(root: Path) -> None:
    value = Carried(train, unseen(root))(spec_of(root), go_on)
    assert value["frames"] == (root / "store" / "frames").read_bytes()
    assert not value["store"].startswith(str(root))
    assert value["before"] == "old"
    assert left(root) == END


def test_a_file_that_fails_a_trial_left_comes_back_too(root: Path) -> None:
    with pytest.raises(ValueError, match="no luck"):
        Carried(train, unseen(root))(spec_of(root, fail=True), go_on)
    assert left(root) == END


def test_a_store_is_fetched_once_for_a_node(root: Path) -> None:
    keeper = Here(Keeper(str(root)))
    carried = Carried(train, unseen(root, keeper))
    first = carried(spec_of(root), go_on)
    n_reads = keeper.calls.count("read")
    second = carried(spec_of(root), go_on)
    assert second["copy"] == first["copy"]
    assert keeper.calls.count("read") - n_reads == 2  # the trial's own files


def test_large_files_travel_in_pieces(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "PIECE_BYTES", 100)
    keeper = Here(Keeper(str(root)))
    value = Carried(train, unseen(root, keeper))(spec_of(root), go_on)
    assert value["frames"] == bytes(range(256))
    assert keeper.calls.count("read") == 3 + 1


@pytest.mark.parametrize(("every_s", "state"), [(0.0, "new"), (100.0, "old")])
def test_a_state_is_sent_back_while_the_trial_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch, every_s: float, state: str
) -> None:
    monkeypatch.setattr(folders, "SEND_S", every_s)
    seen: list[dict[str, str]] = []

    def look(step: int, metrics: Mapping[str, float]) -> Decision:
        seen.append(left(root))
        return Decision.CONTINUE

    Carried(train, unseen(root))(spec_of(root), look)
    assert [files["state/state.json"] for files in seen] == [state]


def test_a_fetch_that_breaks_off_leaves_nothing_that_counts(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Keeper, file: str, offset: int) -> bytes:
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "read", broken)
        with pytest.raises(OSError, match="gone"):
            Carried(train, unseen(root))(spec_of(root), go_on)
    assert Carried(train, unseen(root))(spec_of(root), go_on)["frames"] == bytes(range(256))


def test_a_store_that_the_driver_lacks_is_told(root: Path) -> None:
    shutil.rmtree(root / "store")
    with pytest.raises(ClusterError, match=r"has nothing in .*store'; run the sweep again"):
        Carried(train, unseen(root))(spec_of(root), go_on)


@pytest.mark.parametrize("method", ["sizes", "remove"])
def test_the_keeper_touches_nothing_outside(root: Path, method: str) -> None:
    (root / "out").symlink_to(root.parent)
    for path in ("/etc/passwd", f"{root}/../x", f"{root}/out/x"):
        with pytest.raises(ClusterError, match="does not lie in"):
            getattr(Keeper(str(root)), method)(path)


def test_a_cache_that_others_may_write_to_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "node" / f"chorale-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / "node" / f"chorale-{os.getuid()}").chmod(0o777)
    with pytest.raises(ClusterError, match="others may write to it"):
        Carried(train, unseen(root))(spec_of(root), go_on)


class Script:
    """Trials, and what became of them."""

    def __init__(self, *specs: TrialSpec) -> None:
        self.left = list(specs)
        self.told: dict[int, Outcome] = {}

    def done(self) -> bool:
        return not self.left

    def ask(self, n: int) -> list[TrialSpec]:
        specs, self.left = self.left[:n], self.left[n:]
        return specs

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        return Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        self.told[trial_id] = outcome


@pytest.fixture
def hidden(
    own_cluster: Callable[..., AbstractContextManager[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """A folder that the only node with two CPUs does not see: something else is mounted over it."""
    from ray._private import services

    fill(root := tmp_path / "runs")
    over = ["unshare", "-m", "--propagation", "private", "sh", "-c"]
    over += ['mount -t tmpfs none "$0" && exec "$@"', str(root)]
    if shutil.which("unshare") is None or subprocess.run([*over, "true"], check=False).returncode:
        pytest.skip("this user may not hide a folder from a process (unshare -m)")
    start = services.start_ray_process

    def start_hidden(command: list[str], process_type: str, *args: Any, **kwargs: Any) -> Any:
        prefix = over if process_type == "raylet" else []
        return start([*prefix, *command], process_type, *args, **kwargs)

    (tmp_path / "node").mkdir()
    with own_cluster(num_cpus=1) as made, monkeypatch.context() as patch:
        patch.setattr(services, "start_ray_process", start_hidden)
        patch.setenv("TMPDIR", str(tmp_path / "node"))
        made.add_node(**NODE, num_cpus=2)
        yield root


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_a_trial_runs_on_a_node_that_does_not_see_the_folder(hidden: Path, tmp_path: Path) -> None:
    from ray import cloudpickle

    from chorale.cluster.tune.runner import TuneRunner

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    (storage := tmp_path / "tune").mkdir()
    script = Script(spec_of(hidden, 0), spec_of(hidden, 1))
    with folders.shared(hidden) as folder:
        assert folder.is_seen()
        assert not folders.all_nodes_see(folder)
        runner = TuneRunner(Resources(2), max_concurrent=1, storage=storage, folder=folder)
        runner.run(script, train)
    first, second = script.told[0], script.told[1]
    assert (first.end, second.end) == (End.FINISHED, End.FINISHED), first
    assert first.value["frames"] == bytes(range(256))
    assert not first.value["seen"]
    assert second.value["copy"] == first.value["copy"]
    assert (first.value["before"], second.value["before"]) == ("old", "new")
    assert left(hidden) == END
    assert sorted(path.name for path in hidden.iterdir()) == ["store", "trial"]
