"""File transfer for trials on a node that does not see the driver's folder."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chorale.cluster.base import ClusterError, Decision, End, Outcome, Report, Resources, TrialSpec
from chorale.cluster.transfer import folders
from chorale.cluster.transfer.folders import FolderServer, SharedFolder, TransferredWork


class LocalServer:
    """A `FolderServer` with an actor's interface, called directly."""

    def __init__(self, server: FolderServer) -> None:
        self._server = server
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def remote(*args: Any) -> Any:
            self.calls.append(name)
            return getattr(self._server, name)(*args)

        return type("Method", (), {"remote": staticmethod(remote)})


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The driver's folder, with a store and the state of an interrupted trial."""
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


def unseen(root: Path, server: LocalServer | None = None) -> SharedFolder:
    """The folder for a process that cannot read the driver's marker file."""
    return SharedFolder(str(root), ".seen", "token", server or LocalServer(FolderServer(str(root))))


def spec_of(root: Path, trial_id: int = 0, **payload: Any) -> TrialSpec:
    return TrialSpec(
        trial_id,
        payload,
        input_folders=(str(root / "store"),),
        output_folders=(str(root / "trial"),),
    )


def continue_always(step: int, metrics: Mapping[str, float]) -> Decision:
    return Decision.CONTINUE


def train(spec: TrialSpec, report: Report) -> dict[str, Any]:
    """Reads the store, resumes from its state, and writes files."""
    store = Path(spec.local_path(spec.input_folders[0]))
    trial = Path(spec.local_path(spec.output_folders[0]))
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
        "seen": Path(spec.input_folders[0]).exists(),
    }


def files_of_trial(root: Path) -> dict[str, str]:
    trial = root / "trial"
    return {str(p.relative_to(trial)): p.read_text() for p in trial.rglob("*") if p.is_file()}


EXPECTED_FILES = {"state/state.json": "new", "metrics.csv": "epoch"}


def test_a_node_that_sees_the_folder_transfers_nothing(root: Path) -> None:
    (root / ".seen").write_text("token")
    server = LocalServer(FolderServer(str(root)))
    value = TransferredWork(train, unseen(root, server))(spec_of(root), continue_always)
    assert (value["before"], value["store"]) == ("old", str(root / "store"))
    assert server.calls == []
    assert files_of_trial(root) == EXPECTED_FILES


def test_another_machines_folder_of_the_same_name_is_not_taken_for_the_drivers(root: Path) -> None:
    folder = unseen(root)
    assert not folder.is_visible()
    (root / ".seen").write_text("that of another driver")
    assert not folder.is_visible()


def test_input_folders_are_downloaded_and_output_folders_uploaded(root: Path) -> None:
    value = TransferredWork(train, unseen(root))(spec_of(root), continue_always)
    assert value["frames"] == (root / "store" / "frames").read_bytes()
    assert not value["store"].startswith(str(root))
    assert value["before"] == "old"
    assert files_of_trial(root) == EXPECTED_FILES


def test_output_folders_of_a_failed_trial_are_uploaded_too(root: Path) -> None:
    with pytest.raises(ValueError, match="no luck"):
        TransferredWork(train, unseen(root))(spec_of(root, fail=True), continue_always)
    assert files_of_trial(root) == EXPECTED_FILES


def test_an_input_folder_is_downloaded_once_per_node(root: Path) -> None:
    server = LocalServer(FolderServer(str(root)))
    work = TransferredWork(train, unseen(root, server))
    first = work(spec_of(root), continue_always)
    n_reads = server.calls.count("read")
    second = work(spec_of(root), continue_always)
    assert second["copy"] == first["copy"]
    assert server.calls.count("read") - n_reads == 2  # the trial's own files


def test_large_files_are_downloaded_in_chunks(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "CHUNK_BYTES", 100)
    server = LocalServer(FolderServer(str(root)))
    value = TransferredWork(train, unseen(root, server))(spec_of(root), continue_always)
    assert value["frames"] == bytes(range(256))
    assert server.calls.count("read") == 3 + 1


@pytest.mark.parametrize(("every_s", "state"), [(0.0, "new"), (100.0, "old")])
def test_a_trials_state_is_uploaded_while_it_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch, every_s: float, state: str
) -> None:
    monkeypatch.setattr(folders, "OUTPUT_UPLOAD_INTERVAL_S", every_s)
    seen: list[dict[str, str]] = []

    def record(step: int, metrics: Mapping[str, float]) -> Decision:
        seen.append(files_of_trial(root))
        return Decision.CONTINUE

    TransferredWork(train, unseen(root))(spec_of(root), record)
    assert [files["state/state.json"] for files in seen] == [state]


def test_an_interrupted_download_leaves_no_cached_copy(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: FolderServer, file: str, offset: int) -> bytes:
        raise OSError("unreachable")

    with monkeypatch.context() as patch:
        patch.setattr(FolderServer, "read", broken)
        with pytest.raises(OSError, match="unreachable"):
            TransferredWork(train, unseen(root))(spec_of(root), continue_always)
    assert TransferredWork(train, unseen(root))(spec_of(root), continue_always)["frames"] == bytes(
        range(256)
    )


def test_an_input_folder_that_the_driver_lacks_is_reported(root: Path) -> None:
    shutil.rmtree(root / "store")
    with pytest.raises(ClusterError, match=r"has no files in .*store'; run the sweep again"):
        TransferredWork(train, unseen(root))(spec_of(root), continue_always)


@pytest.mark.parametrize("method", ["sizes", "remove"])
def test_the_folder_server_refuses_paths_outside_its_folder(root: Path, method: str) -> None:
    (root / "out").symlink_to(root.parent)
    for path in ("/etc/passwd", f"{root}/../x", f"{root}/out/x"):
        with pytest.raises(ClusterError, match="is not in"):
            getattr(FolderServer(str(root)), method)(path)


def test_a_cache_that_other_users_can_write_to_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "node" / f"chorale-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / "node" / f"chorale-{os.getuid()}").chmod(0o777)
    with pytest.raises(ClusterError, match="other users can write to it"):
        TransferredWork(train, unseen(root))(spec_of(root), continue_always)


class Script:
    """A fixed list of trials and their outcomes."""

    def __init__(self, *specs: TrialSpec) -> None:
        self.left = list(specs)
        self.outcomes: dict[int, Outcome] = {}

    def done(self) -> bool:
        return not self.left

    def ask(self, n: int) -> list[TrialSpec]:
        specs, self.left = self.left[:n], self.left[n:]
        return specs

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        return Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        self.outcomes[trial_id] = outcome


@pytest.fixture
def hidden(shared_nodes: Any) -> Path:
    """A folder that the only node with a GPU does not see."""
    root: Path | None = shared_nodes.hidden
    if root is None:
        pytest.skip("this user cannot hide a folder from a process (unshare -m)")
    fill(root)
    return root


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_a_trial_runs_on_a_node_that_does_not_see_the_folder(hidden: Path, tmp_path: Path) -> None:
    from ray import cloudpickle

    from chorale.cluster.tune.runner import TuneRunner

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    (storage := tmp_path / "tune").mkdir()
    script = Script(spec_of(hidden, 0), spec_of(hidden, 1))
    with folders.share_folder(hidden) as folder:
        assert folder.is_visible()
        assert not folders.all_nodes_see_folder(folder)
        runner = TuneRunner(Resources(1, 1), max_concurrent=1, storage=storage, folder=folder)
        runner.run(script, train)
    first, second = script.outcomes[0], script.outcomes[1]
    assert (first.end, second.end) == (End.FINISHED, End.FINISHED), first
    assert first.value["frames"] == bytes(range(256))
    assert not first.value["seen"]
    assert second.value["copy"] == first.value["copy"]
    assert (first.value["before"], second.value["before"]) == ("old", "new")
    assert files_of_trial(hidden) == EXPECTED_FILES
    assert sorted(path.name for path in hidden.iterdir()) == ["store", "trial"]
