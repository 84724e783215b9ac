import logging
import signal
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from chorale.datasets.errors import UserError
from chorale.lightning_models import metrics
from chorale.lightning_models.architectures import cnn
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames, Tracks
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training.fit import TrainedNetwork, predict, train_network
from chorale.lightning_models.training.module import GenreClassifier
from chorale.lightning_models.training.trainer import UNCALLED_HOOKS, require_called_hooks

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


def test_it_learns_and_its_results_belong_to_the_kept_weights() -> None:
    data = fold()
    seen = Recorder()
    trained = fit(data, on_epoch=seen)
    assert [epoch for epoch, _ in seen] == list(range(1, 9))
    assert trained.metrics["accuracy"] > 0.9
    assert trained.metrics == seen[trained.epoch - 1][1]
    labels = data.labels[data.valid_rows]
    assert metrics.accuracy(trained.proba, labels) == trained.metrics["accuracy"]
    assert metrics.log_loss(trained.proba, labels) == trained.metrics["log_loss"]
    np.testing.assert_array_equal(
        predict(trained.module, data, data.valid_rows).proba, trained.proba
    )
    assert trained.n_parameters == sum(p.numel() for p in trained.module.parameters())
    assert trained.train_s > 0
    assert not trained.stopped


def test_columns_of_proba_are_in_the_order_of_the_class_indices() -> None:
    data = fold()
    swapped = FoldData(
        data.store, data.train_rows, data.valid_rows, np.array([2, 0, 1])[data.labels], N_CLASSES
    )
    for case in (data, swapped):
        trained = fit(case)
        assert (trained.proba.argmax(axis=1) == case.labels[case.valid_rows]).mean() > 0.9


def test_the_same_seed_gives_bit_identical_weights() -> None:
    settings = {"mixup_alpha": 0.3, "n_masks": 1, "max_epochs": 2}
    first, again, other = (fit(seed=seed, train=settings) for seed in (5, 5, 6))
    assert all(map(torch.equal, weights(first), weights(again)))
    np.testing.assert_array_equal(first.proba, again.proba)
    assert not all(map(torch.equal, weights(first), weights(other)))


def test_the_result_does_not_depend_on_earlier_work_of_the_process() -> None:
    first = fit(train={"max_epochs": 2})
    torch.manual_seed(12345)
    before = torch.get_rng_state()
    again = fit(train={"max_epochs": 2})
    assert all(map(torch.equal, weights(first), weights(again)))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epochs_randomness_depends_on_seed_and_epoch_alone() -> None:
    def draw(epoch: int, scores: Mapping[str, float]) -> bool:
        return bool(torch.rand(1) > 1)

    plain, disturbed = fit(keep="last"), fit(keep="last", on_epoch=draw)
    assert all(map(torch.equal, weights(plain), weights(disturbed)))


def test_on_epoch_ends_the_training_at_once() -> None:
    seen: list[int] = []

    def stop_at_two(epoch: int, scores: Mapping[str, float]) -> bool:
        seen.append(epoch)
        return epoch == 2

    trained = fit(on_epoch=stop_at_two, train={"max_epochs": 9})
    assert seen == [1, 2]
    assert trained.stopped
    assert trained.epoch in seen


def test_ctrl_c_raises_keyboard_interrupt() -> None:
    before = signal.getsignal(signal.SIGINT)

    def interrupt(epoch: int, scores: Mapping[str, float]) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(on_epoch=interrupt)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_signal_handlers_are_not_changed(name: str) -> None:
    wanted = getattr(signal, name)
    before, during = signal.getsignal(wanted), []

    def look(epoch: int, scores: Mapping[str, float]) -> bool:
        during.append(signal.getsignal(wanted))
        return True

    fit(on_epoch=look)
    assert during == [before]
    assert signal.getsignal(wanted) is before


def test_an_error_in_on_epoch_is_raised_unchanged() -> None:
    def fail(epoch: int, scores: Mapping[str, float]) -> bool:
        raise LookupError("the ledger is gone")

    with pytest.raises(LookupError, match="the ledger is gone"):
        fit(on_epoch=fail)


def test_training_in_a_thread_gives_the_same_result_as_in_the_main_thread() -> None:
    made: list[TrainedNetwork] = []
    thread = threading.Thread(target=lambda: made.append(fit(train={"max_epochs": 1})))
    thread.start()
    thread.join()
    assert all(map(torch.equal, weights(made[0]), weights(fit(train={"max_epochs": 1}))))


def test_scalars_of_every_epoch_are_logged(tmp_path: Path) -> None:
    seen = Recorder()
    fit(log_dir=tmp_path, on_epoch=seen, train={"max_epochs": 3})
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = {"train/loss", "valid/loss", "valid/accuracy", "valid/macro_f1", "lr"}
    assert set(events.Tags()["scalars"]) == tags
    logged = events.Scalars("valid/accuracy")
    assert [e.step for e in logged] == [1, 2, 3]
    assert [e.value for e in logged] == pytest.approx([s["accuracy"] for s in seen.scores])
    assert [p.name for p in tmp_path.iterdir() if "tfevents" not in p.name] == []


def test_training_prints_nothing(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(train={"max_epochs": 1})
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(UserError, match="unknown objective 'accurracy'; did you mean 'accuracy'"):
        fit(objective="accurracy")


def test_crops_of_a_single_frame_can_be_trained_on() -> None:
    assert fit(train={"crop_s": 0.05, "max_epochs": 1}).module.input_shape == (1, N_BINS, 1)


def test_predictions_are_in_the_order_of_the_rows_and_average_windows() -> None:
    data = fold()
    module = fit(data, train={"max_epochs": 1, "n_windows": 3}).module
    forward = predict(module, data, np.array([1, 30, 7]))
    backward = predict(module, data, np.array([7, 30, 1]))
    assert forward.proba.dtype == forward.embeddings.dtype == np.float32
    assert forward.embeddings.shape == (3, 16)
    np.testing.assert_allclose(forward.proba, backward.proba[::-1], atol=1e-6)
    np.testing.assert_allclose(forward.proba.sum(axis=1), 1, atol=1e-5)
    begin, end = data.store.offsets[1:3]
    track = torch.from_numpy(data.store.frames[begin:end].T.copy())
    assert 20 < track.shape[1] <= 40  # two windows, at the beginning and at the end
    with torch.inference_mode():
        both = module(torch.stack([track[:, :20], track[:, -20:]]).unsqueeze(1)).softmax(dim=1)
    np.testing.assert_allclose(forward.proba[0], both.mean(dim=0), atol=1e-5)


@pytest.mark.parametrize("center", [False, True])
def test_a_tracks_prediction_does_not_depend_on_other_tracks(center: bool) -> None:
    data = fold()
    module = fit(data, train={"max_epochs": 2, "crop_s": 1.5, "center": center}).module
    short = int(data.lengths.argmin())  # is padded
    begin, end = data.store.offsets[short : short + 2]
    alone = Tracks(MemoryFrames.of([data.store.frames[begin:end].T], frame_rate_hz=20.0))
    np.testing.assert_allclose(
        predict(module, alone, np.array([0])).proba,
        predict(module, data, np.array([short])).proba,
        atol=1e-6,
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_it_learns_on_a_gpu() -> None:
    trained = fit(train={})
    assert trained.module.device.type == "cuda"
    assert trained.metrics["accuracy"] > 0.9


class FullTrainer(pl.Trainer):
    """Lightning's own loop with every hook, in the place of `LeanTrainer`."""

    def __init__(
        self,
        *,
        device: torch.device,
        max_epochs: int,
        clip_norm: float | None,
        callbacks: Sequence[pl.Callback],
    ) -> None:
        super().__init__(
            accelerator=device.type,
            devices=1,
            max_epochs=max_epochs,
            gradient_clip_val=clip_norm,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )


@pytest.mark.parametrize(
    "train",
    [
        {"optimizer": "adamw", "clip_norm": 1.0, "ema_decay": 0.9},
        {"optimizer": "sgd", "schedule": "one_cycle", "mixup_alpha": 0.3},
        {"optimizer": "rmsprop", "schedule": "plateau", "lr": 1e-3},
    ],
    ids=lambda train: str(train["optimizer"]),
)
def test_the_lean_trainer_and_lightnings_own_give_the_same_weights(
    train: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lean = fit(train={"max_epochs": 4, **train})
    monkeypatch.setattr("chorale.lightning_models.training.fit.LeanTrainer", FullTrainer)
    full = fit(train={"max_epochs": 4, **train})
    losses = [[epoch["train_loss"] for epoch in one.history] for one in (lean, full)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    expected = full.module.state_dict()
    for name, weights in lean.module.state_dict().items():
        torch.testing.assert_close(weights, expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hook", UNCALLED_HOOKS)
def test_a_module_that_overrides_a_hook_which_is_not_called_is_refused_by_name(hook: str) -> None:
    module_class = type("Odd", (GenreClassifier,), {hook: lambda self, *args: None})
    with pytest.raises(UserError, match=rf"Odd overrides {hook}, which .*override training_step"):
        require_called_hooks(module_class)
    require_called_hooks(GenreClassifier)
