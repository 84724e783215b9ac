"""Trains one network on one fold, and asks a trained one for its judgement.

`search.trial` calls it once for a trial, `search` again for each fold of a finalist.
"""

import signal
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from pytorch_lightning.loggers import TensorBoardLogger

from datasets.errors import unknown
from lightning_models import speed
from lightning_models.batches import TrainBatches
from lightning_models.datamodule import FoldData
from lightning_models.module import GenreClassifier
from lightning_models.predict import Prediction, predict
from lightning_models.train_config import TrainConfig
from lightning_models.watch import OBJECTIVES, OnEpoch, Watch

__all__ = ["Prediction", "Trained", "predict", "train"]


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network.

    `epoch` (counted from 1), `metrics` and `proba` (n_valid, n_classes) are those of the weights
    that were kept; `stopped` says that `on_epoch` ended the training; `train_s` are the seconds
    spent in training steps, `valid_s` those spent in judging the validation rows.
    """

    module: GenreClassifier
    epoch: int
    stopped: bool
    metrics: Mapping[str, float]
    proba: NDArray[np.float32]
    n_parameters: int
    train_s: float
    valid_s: float


def train(
    *,
    architecture: str,
    config: Any,
    train_config: TrainConfig,
    data: FoldData,
    seed: int,
    keep: Literal["best", "last"],
    objective: str = "accuracy",
    on_epoch: OnEpoch,
    log_dir: Path | None,
) -> Trained:
    """Trains a network on the training rows of a fold and judges it on the validation rows.

    The same arguments give the same weights, to the bit, on one thread of a processor. Torch's
    global generator is left as it was.

    Args:
        architecture: a file name in `lightning_models.architectures`.
        config: that architecture's `Config`.
        train_config: how to train.
        data: the fold.
        seed: of weights, order, crops, dropout and augmentation.
        keep: the weights of the epoch with the best objective (ties: lower log loss), or those
            of the last epoch; the latter also switches early stopping off.
        objective: one of `OBJECTIVES`.
        on_epoch: called after each epoch.
        log_dir: where TensorBoard scalars go; none for nowhere.

    Raises:
        Diverged: a loss is not finite.
        UserError: unknown architecture or objective, or crops too small for the architecture.
    """
    if objective not in OBJECTIVES:
        raise unknown("objective", objective, OBJECTIVES)
    speed.quieten_lightning()
    device = speed.device()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        speed.seed_torch(seed, device)
        module = GenreClassifier(
            architecture=architecture,
            config=config,
            train_config=train_config,
            input_shape=data.input_shape(train_config.crop_s),
            n_classes=data.n_classes,
            statistics=data.statistics(center=train_config.center),
            seed=seed,
        )
        batches = TrainBatches(
            data,
            n_frames=module.input_shape[2],
            batch_size=train_config.batch_size,
            seed=seed,
            crops_per_track=train_config.crops_per_track,
            center=train_config.center,
            device=device,
        )
        logger = None
        if log_dir is not None:
            logger = TensorBoardLogger(
                log_dir, name="", version="", default_hp_metric=False, flush_secs=5
            )
        watch = Watch(data, keep=keep, objective=objective, on_epoch=on_epoch, logger=logger)
        try:
            _run(module, batches, watch, device)
        finally:
            if logger is not None:
                logger.experiment.close()
    if watch.kept.epoch < watch.epoch:
        module.load_state_dict(watch.kept.weights)
    if device.type != "cpu":
        module.to(device)  # Lightning has moved it to the processor
    module.eval()
    return Trained(
        module=module,
        epoch=watch.kept.epoch,
        stopped=watch.stopped,
        metrics=watch.kept.metrics,
        proba=watch.kept.proba,
        n_parameters=sum(p.numel() for p in module.parameters()),
        train_s=watch.train_s,
        valid_s=watch.valid_s,
    )


def _run(
    module: GenreClassifier, batches: TrainBatches, watch: Watch, device: torch.device
) -> None:
    """One fit by a Trainer that has everything superfluous switched off."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\.")
        trainer = pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            max_epochs=module.train_config.max_epochs,
            gradient_clip_val=module.train_config.clip_norm,
            callbacks=[watch],
            plugins=[LightningEnvironment()],  # not Slurm's: it would take over signals
            barebones=True,
        )
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(module, batches)
        except SystemExit:
            if not watch.interrupted:
                raise
            # Lightning turns Ctrl-C into an exit and leaves it ignored; here it stays Ctrl-C
            signal.signal(signal.SIGINT, handler)
            raise KeyboardInterrupt from None
