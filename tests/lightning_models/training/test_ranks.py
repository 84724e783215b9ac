"""Data-parallel training in two processes equals that in one, up to the order of sums.

Each of the processes runs all trainings, one after the other.
"""

import multiprocessing
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chorale.datasets.errors import UserError
from chorale.lightning_models.architectures import autoencoder_cnn, cnn, softmax_regression
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import speed
from chorale.lightning_models.training.fit import TrainedNetwork, train_network
from chorale.lightning_models.training.ranks import SINGLE_PROCESS, Ranks

N_RANKS = 2
N_EPOCHS = 3
BASE = {"max_epochs": N_EPOCHS, "crop_s": 1.0, "optimizer": "sgd", "sgd_lr": 0.01}
CHANGED = {"mixup_alpha": 0.4, "n_masks": 1, "label_smoothing": 0.1, "balance": "class_weights"}


def fold(n: int = 31) -> FoldData:
    """With seven validation rows, which two processes cannot share equally."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    tracks = [rng.normal(10 * label, 8, (16, 25)).astype(np.float32) for label in labels]
    rows = np.arange(n)
    store = MemoryFrames.of(tracks, frame_rate_hz=20.0)
    return FoldData(
        store=store, train_rows=rows[: n - 7], valid_rows=rows[n - 7 :], labels=labels, n_classes=3
    )


def fit(ranks: Ranks, architecture: str, config: Any, **changes: Any) -> TrainedNetwork:
    settings = {**BASE, **changes.pop("train", {})}
    asked: dict[str, Any] = {
        "keep": "best",
        "on_epoch": lambda epoch, scores: False,
        "log_dir": None,
        **changes,
    }
    return train_network(
        architecture=architecture,
        config=config,
        train_config=TrainConfig(**settings),
        data=fold(),
        seed=3,
        ranks=ranks,
        **asked,
    )


def of_cnn(ranks: Ranks, **changes: Any) -> TrainedNetwork:
    config = cnn.Config(n_layers=2, width=8, dense=16, dropout=0.0)
    return fit(ranks, "cnn", config, **changes)


def plain(ranks: Ranks, folder: Path) -> TrainedNetwork:
    return of_cnn(ranks, train={"batch_size": 8})


def changed(ranks: Ranks, folder: Path) -> TrainedNetwork:
    """All that depends on a whole batch, an odd batch size, and EMA."""
    settings = {**CHANGED, "batch_size": 7, "ema_decay": 0.9, "schedule": "plateau"}
    return of_cnn(ranks, train=settings, log_dir=folder / "events")


def sliced(ranks: Ranks, folder: Path) -> TrainedNetwork:
    config = softmax_regression.Config(dropout=0.0)
    return fit(ranks, "softmax_regression", config, train={"batch_size": 8}, n_slices=2)


def frozen(ranks: Ranks, folder: Path) -> TrainedNetwork:
    """First the classifier has no gradients, then the encoder."""
    config = autoencoder_cnn.Config(
        n_layers=2, width=4, mode="first", pretrain=0.5, freeze=True, filters=8, dense=8, dropout=0
    )
    return fit(ranks, "autoencoder_cnn", config, train={"batch_size": 8})


def stopped(ranks: Ranks, folder: Path) -> TrainedNetwork:
    return of_cnn(ranks, train={"batch_size": 8}, on_epoch=lambda epoch, scores: epoch == 2)


def resumed(ranks: Ranks, folder: Path) -> TrainedNetwork:
    """As `changed`, interrupted in its third epoch."""

    def leave(epoch: int, scores: Mapping[str, float]) -> bool:
        if epoch == 3:
            raise InterruptedError
        return False

    state = folder / "state"
    settings = {**CHANGED, "batch_size": 7, "ema_decay": 0.9, "schedule": "plateau"}
    asked: dict[str, Any] = {"train": settings, "save_to": state, "save_every": 1}
    with pytest.raises(InterruptedError):
        of_cnn(ranks, on_epoch=leave, **asked)
    # the others have no state of their own to look at
    return of_cnn(ranks, resume_from=state if ranks.is_first else folder / "nowhere", **asked)


def dropping(ranks: Ranks, folder: Path) -> TrainedNetwork:
    config = softmax_regression.Config(dropout=0.5)
    return fit(ranks, "softmax_regression", config, train={"batch_size": 8})


DOERS: tuple[Callable[[Ranks, Path], TrainedNetwork], ...]
DOERS = (plain, changed, sliced, frozen, stopped, resumed, dropping)
CASES = {doer.__name__: doer for doer in DOERS}


def found(trained: TrainedNetwork) -> dict[str, Any]:
    history = [
        {name: value for name, value in row.items() if name != "lr"} for row in trained.history
    ]
    return {
        "weights": {name: value.numpy() for name, value in trained.module.state_dict().items()},
        "history": history,
        "proba": trained.proba,
        "epoch": trained.epoch,
        "stopped": trained.stopped,
        "resumed_after": trained.resumed_after,
    }


def main(rank: int, folder: Path) -> None:
    """Runs all trainings as one of `N_RANKS` processes and writes its results to `folder`."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # so that torch looks for no other way than loopback
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=N_RANKS
    )
    vars(speed)["precision"] = lambda kind: torch.float32
    ranks = Ranks(rank, N_RANKS)
    results: dict[str, Any] = {}
    for name, doer in CASES.items():
        (mine := folder / f"{name}-{rank}").mkdir()
        results[name] = {
            **found(doer(ranks, mine)),
            "files": sorted(path.name for path in mine.iterdir()),
        }
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(results))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The results of each process."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.set_forkserver_preload(["chorale.lightning_models.training.fit"])
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=main, args=(rank, folder)) for rank in range(N_RANKS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0] * N_RANKS
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(N_RANKS)]


@pytest.fixture
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """The results of a single process."""

    def run(case: str) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(speed, "fastest_precision", lambda kind: torch.float32)
            return found(CASES[case](SINGLE_PROCESS, tmp_path))

    return run


SAME = [name for name in CASES if name != "dropping"]


@pytest.mark.parametrize("case", SAME)
def test_two_processes_give_the_result_of_one(
    results: list[dict[str, Any]], alone: Callable[[str], dict[str, Any]], case: str
) -> None:
    ours, one = results[0][case], alone(case)
    for name in ("epoch", "stopped", "resumed_after"):
        assert ours[name] == one[name]
    assert len(ours["history"]) == len(one["history"])
    for mine, its in zip(ours["history"], one["history"], strict=True):
        assert mine == pytest.approx(its, rel=1e-3, abs=1e-4)
    np.testing.assert_allclose(ours["proba"], one["proba"], atol=1e-3)
    assert ours["weights"].keys() == one["weights"].keys()
    for name, value in one["weights"].items():
        np.testing.assert_allclose(ours["weights"][name], value, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("case", CASES)
def test_all_processes_have_bit_identical_results(results: list[dict[str, Any]], case: str) -> None:
    first, second = (of_rank[case] for of_rank in results)
    for name, value in first["weights"].items():
        np.testing.assert_array_equal(second["weights"][name], value)
    np.testing.assert_array_equal(second["proba"], first["proba"])
    assert second["history"] == first["history"]


def test_a_resumed_training_ends_in_the_same_weights(
    results: list[dict[str, Any]],
) -> None:
    resumed, uninterrupted = results[0]["resumed"], results[0]["changed"]
    assert (resumed["resumed_after"], uninterrupted["resumed_after"]) == (2, 0)
    for name, value in uninterrupted["weights"].items():
        np.testing.assert_array_equal(resumed["weights"][name], value)


@pytest.mark.parametrize(("case", "what"), [("changed", ["events"]), ("resumed", ["state"])])
def test_only_the_first_process_writes_files(
    results: list[dict[str, Any]], case: str, what: list[str]
) -> None:
    assert [of_rank[case]["files"] for of_rank in results] == [what, []]


def test_dropout_drops_other_values_in_each_process(
    results: list[dict[str, Any]], alone: Callable[[str], dict[str, Any]]
) -> None:
    ours, one = results[0]["dropping"], alone("dropping")
    assert any(
        not np.allclose(ours["weights"][name], value, rtol=1e-3)
        for name, value in one["weights"].items()
    )


def test_more_processes_than_rows_of_a_batch_are_refused() -> None:
    with pytest.raises(UserError, match="a batch of 2 crops cannot be shared by 3 processes"):
        of_cnn(Ranks(0, 3), train={"batch_size": 2})


@pytest.mark.parametrize(("n", "size"), [(7, 2), (8, 3), (1, 4), (0, 2)])
def test_shards_cover_all_rows_once_and_differ_by_one_at_most(n: int, size: int) -> None:
    shares = [range(n)[Ranks(rank, size).shard(n)] for rank in range(size)]
    assert [row for share in shares for row in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
