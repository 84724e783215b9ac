from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
import torch

from chorale.lightning_models import metrics
from chorale.lightning_models.architectures import cnn
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training.callbacks import has_exploded
from chorale.lightning_models.training.fit import TrainedNetwork, predict, train_network
from chorale.lightning_models.training.module import Diverged

N_BINS, N_CLASSES = 12, 3


def fold(*, n: int = 60, noise: float = 1.0, seed: int = 0) -> FoldData:
    """Class `c` is loud in bins 4c to 4c + 3."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % N_CLASSES
    tracks = []
    for label in labels:
        track = rng.normal(-30, 5 * noise, (N_BINS, int(rng.integers(10, 40))))
        track[4 * label : 4 * label + 4] += 10
        tracks.append(track.astype(np.float32))
    rows = np.arange(n)
    return FoldData(
        store=MemoryFrames.of(tracks, frame_rate_hz=20.0),
        train_rows=rows[: 2 * n // 3],
        valid_rows=rows[2 * n // 3 :],
        labels=labels,
        n_classes=N_CLASSES,
    )


def random_labels() -> FoldData:
    """Random labels: only the training loss decreases."""
    data = fold()
    noise = np.random.default_rng(0).integers(0, N_CLASSES, len(data.labels))
    return FoldData(data.store, data.train_rows, data.valid_rows, noise, N_CLASSES)


def fit(data: FoldData | None = None, **changes: Any) -> TrainedNetwork:
    settings: dict[str, Any] = {"max_epochs": 8, "crop_s": 1.0, "batch_size": 8, "lr": 3e-3}
    settings |= changes.pop("train", {})
    arguments = {
        "architecture": "cnn",
        "config": cnn.Config(n_layers=2, width=8, dense=16),
        "data": data or fold(),
        "seed": 0,
        "keep": "best",
        "on_epoch": lambda epoch, scores: False,
        "log_dir": None,
        **changes,
    }
    return train_network(train_config=TrainConfig(**settings), **arguments)


class Recorder(list[tuple[int, Mapping[str, float]]]):
    """An `on_epoch` that records its arguments and never stops."""

    def __call__(self, epoch: int, scores: Mapping[str, float]) -> bool:
        self.append((epoch, scores))
        return False

    @property
    def scores(self) -> list[Mapping[str, float]]:
        return [scores for _, scores in self]


def weights(trained: TrainedNetwork) -> list[torch.Tensor]:
    return list(trained.module.state_dict().values())


def test_keep_best_takes_the_best_epoch_and_breaks_ties_by_log_loss() -> None:
    seen = Recorder()
    trained = fit(on_epoch=seen, train={"max_epochs": 12})
    best = max(seen.scores, key=lambda s: (s["accuracy"], -s["log_loss"]))
    assert trained.metrics == best
    assert sum(s["accuracy"] == best["accuracy"] for s in seen.scores) > 1  # there was a tie


def test_the_objective_decides_which_epoch_is_best() -> None:
    seen = Recorder()
    settings = {"max_epochs": 9, "lr": 0.02}
    trained = fit(fold(noise=2.5), objective="log_loss", on_epoch=seen, train=settings)
    assert trained.metrics["log_loss"] == min(s["log_loss"] for s in seen.scores)


def test_the_weights_of_the_best_epoch_are_returned() -> None:
    data = random_labels()
    trained = fit(data, objective="log_loss", train={"max_epochs": 12})
    assert trained.epoch < 12
    again = predict(trained.module, data, data.valid_rows).proba
    np.testing.assert_array_equal(again, trained.proba)


def test_keep_last_takes_the_last_epoch_and_does_not_stop_early() -> None:
    seen = Recorder()
    settings = {"patience": 1, "lr": 1e-7, "max_epochs": 5}
    trained = fit(keep="last", on_epoch=seen, train=settings)
    assert trained.epoch == len(seen) == 5
    assert trained.metrics == seen.scores[-1]


def test_early_stopping_ends_a_training_without_improvement() -> None:
    seen = Recorder()
    trained = fit(random_labels(), on_epoch=seen, train={"patience": 2, "max_epochs": 40})
    assert len(seen) == trained.epoch + 2 < 40
    assert not trained.stopped


def test_a_training_with_a_nan_loss_raises_diverged_with_its_reason() -> None:
    data = fold()
    data.store.frames[5] = np.nan
    with pytest.raises(Diverged, match="diverged: loss is nan at epoch 1"):
        fit(data)


def test_a_training_whose_loss_explodes_raises_diverged_with_its_reason() -> None:
    seen = Recorder()
    settings = {"optimizer": "sgd", "sgd_lr": 9.0, "schedule": "constant", "warm_up": 0.9}
    with pytest.raises(Diverged, match=r"diverged: loss exploded to .* at epoch \d; it was .*"):
        fit(train=settings, on_epoch=seen)
    assert len(seen) < 8


@pytest.mark.parametrize(
    ("loss", "first", "is_so"),
    [
        (1e7, 1e6, False),  # high from the start: it may still recover
        (9.0, 0.1, False),  # 90 times as high, but within the range of a bad start
        (100.0, 2.0, True),
        (12.0, 0.5, True),  # more than ten times the loss at chance level, 1.1
    ],
)
def test_a_loss_has_exploded_if_far_above_the_first_and_chance_level(
    loss: float, first: float, is_so: bool
) -> None:
    assert has_exploded(loss, first=first, n_classes=3) is is_so


@pytest.mark.parametrize("keep", ["best", "last"])
def test_with_ema_the_averaged_weights_are_evaluated_and_returned(
    keep: Literal["best", "last"],
) -> None:
    data = fold()
    plain, averaged = (fit(data, keep=keep, train={"ema_decay": decay}) for decay in (0.0, 0.9))
    assert averaged.metrics["accuracy"] > 0.9
    again = predict(averaged.module, data, data.valid_rows).proba
    np.testing.assert_array_equal(again, averaged.proba)
    assert metrics.log_loss(again, data.labels[data.valid_rows]) == averaged.metrics["log_loss"]
    assert not torch.equal(weights(plain)[2], weights(averaged)[2])
    # the training itself is the same
    rows = [[row["train_loss"] for row in trained.history] for trained in (plain, averaged)]
    assert rows[0] == rows[1]


def test_an_epochs_history_row_has_loss_learning_rate_and_reported_metrics() -> None:
    seen = Recorder()
    trained = fit(on_epoch=seen, train={"max_epochs": 3})
    assert [row["epoch"] for row in trained.history] == [1, 2, 3]
    reported = [
        {k: row[k] for k in scores}
        for row, scores in zip(trained.history, seen.scores, strict=True)
    ]
    assert reported == seen.scores
    assert all(row["train_loss"] > 0 and row["lr"] > 0 for row in trained.history)


def test_per_class_accuracy_is_that_of_the_kept_weights() -> None:
    data = random_labels()
    trained = fit(data, train={"max_epochs": 3})
    labels = data.labels[data.valid_rows]
    right = trained.proba.argmax(axis=1) == labels
    expected = [right[labels == c].mean() for c in range(N_CLASSES)]
    np.testing.assert_allclose(trained.per_class, expected)


def test_a_plateau_of_the_validation_loss_lowers_the_learning_rate() -> None:
    settings = {"schedule": "plateau", "max_epochs": 12, "lr": 0.01, "warm_up": 0.0}
    # without dropout it memorises the noise: the training loss decreases
    config = cnn.Config(n_layers=2, width=8, dense=16, dropout=0.0)
    best = fit(random_labels(), train=settings, config=config)
    rates = [row["lr"] for row in best.history]
    assert rates[0] == 0.01
    assert min(rates) < 0.005
    assert rates == sorted(rates, reverse=True)
    # where the last weights are kept it follows that loss
    last = fit(random_labels(), keep="last", train=settings, config=config)
    assert [row["lr"] for row in last.history] == [0.01] * 12


def test_class_weights_compensate_for_a_rare_class() -> None:
    data = fold(n=90, noise=4.0)
    few = [r for r in data.train_rows if data.labels[r] != 0 or r % 9 == 0]
    rare = FoldData(data.store, np.array(few), data.valid_rows, data.labels, N_CLASSES)

    def share(balance: str) -> float:
        """Of the rare class in the predictions of several networks for balanced rows."""
        settings = {"balance": balance, "max_epochs": 12}
        predicted = [fit(rare, seed=seed, train=settings).proba.argmax(axis=1) for seed in range(2)]
        return float(np.mean(np.concatenate(predicted) == 0))

    assert share("none") < 0.25
    assert share("class_weights") > 0.3


def test_validation_tracks_change_the_metrics_but_not_the_weights() -> None:
    clean, poisoned = fold(), fold()
    poisoned.store.frames[poisoned.store.offsets[poisoned.valid_rows[0]] :] = 1e4
    first, second = (fit(d, keep="last", train={"max_epochs": 2}) for d in (clean, poisoned))
    assert all(map(torch.equal, weights(first), weights(second)))
    assert first.metrics["log_loss"] != second.metrics["log_loss"]
