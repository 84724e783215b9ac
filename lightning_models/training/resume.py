"""Exact resume of an interrupted training: its state on disk, as safetensors and JSON, no pickle.

`fit.train_network` adds `ResumeCallback` to Lightning's Trainer; `search.training.run_trial`
chooses the folder of the state.
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from chorale.datasets.atomic import atomic_write, write_json
from chorale.datasets.config import to_plain_values
from chorale.datasets.disk import skip_if_unwritable
from chorale.datasets.errors import UserError, join_first
from chorale.lightning_models.data.datamodule import FoldData
from chorale.lightning_models.training import optimizers, speed
from chorale.lightning_models.training.callbacks import EpochEnd, KeptEpoch
from chorale.lightning_models.training.interruption import (
    MAX_WAIT_S,
    SaveRequest,
    TrainingInterrupted,
)
from chorale.lightning_models.training.module import GenreClassifier
from chorale.lightning_models.training.ranks import SINGLE_PROCESS, Ranks

STATE_JSON = "state.json"

SAVE_INTERVAL_S = 10.0
"""The default seconds between two saves: an interruption loses no more than that and an epoch, and
a training that ends sooner writes nothing."""


@dataclass(frozen=True, eq=False)
class TrainingState:
    """The state of a training between two epochs; `made_for` is its `training_identity`."""

    made_for: Mapping[str, Any]
    numbers: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def save_state(folder: Path, state: TrainingState) -> None:
    """Writes a state into `folder` atomically: the previous one stays valid until the end.

    The name of the tensors' file contains a part of its hash; `state.json`, which is renamed last,
    refers to it.
    """
    data = safetensors.torch.save({k: v.cpu().contiguous() for k, v in state.tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    name = f"state-{digest[:12]}.safetensors"
    with atomic_write(folder / name) as temporary:
        temporary.write_bytes(data)
    content = {"made_for": state.made_for, "numbers": state.numbers, "file": name, "sha256": digest}
    write_json(folder / STATE_JSON, content)
    for other in folder.glob("state-*.safetensors"):
        if other.name != name:
            other.unlink()


def load_state(folder: Path) -> TrainingState | None:
    """Reads a state back; None where none was saved.

    Raises:
        UserError: it is damaged.
    """
    try:
        content = json.loads((folder / STATE_JSON).read_text(encoding="utf-8"))
        data = (folder / Path(content["file"]).name).read_bytes()
        if hashlib.sha256(data).hexdigest() != content["sha256"]:
            raise ValueError(f"{content['file']} is not the file that {STATE_JSON} was written for")
        return TrainingState(content["made_for"], content["numbers"], safetensors.torch.load(data))
    except (FileNotFoundError, NotADirectoryError) as error:
        if not (folder / STATE_JSON).exists():
            return None
        why: Exception = error
    except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        why = error
    raise UserError(
        f"the training state in '{folder}' cannot be used: {type(why).__name__}: {why}; remove the "
        f"folder to train from the beginning"
    )


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of named tensors."""
    found = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        found.update(name.encode())
        found.update(value.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:12]


def training_identity(module: GenreClassifier, data: FoldData, **more: Any) -> dict[str, Any]:
    """Everything that determines a training, as a flat JSON-ready dict, to compare two of them."""
    tracks = hashlib.sha256()
    for array in (data.train_rows, data.valid_rows, data.labels):
        tracks.update(array.tobytes())
    features = hashlib.sha256()
    for buffer in (module.mean, module.std):
        features.update(buffer.cpu().numpy().tobytes())
    if data.targets is not None:  # only those of training rows are read
        targets = np.ascontiguousarray(data.targets[data.train_rows], dtype=np.float32)
        more["targets"] = hashlib.sha256(targets.tobytes()).hexdigest()[:12]
    train = to_plain_values(module.train_config)
    if train.pop("views"):  # left out where off, as states of earlier versions do not have it
        more["n_views"] = 1 + len(data.views)
    return {
        "architecture": module.architecture,
        **{f"config.{k}": v for k, v in to_plain_values(module.config).items()},
        **{f"train.{name}": value for name, value in train.items()},
        "seed": module.seed,
        **more,
        "input_shape": list(module.input_shape),
        "n_classes": module.n_classes,
        **({"multi_label": True} if module.multi_label else {}),
        "n_train": len(data.train_rows),
        "n_valid": len(data.valid_rows),
        "tracks": tracks.hexdigest()[:12],
        "features": features.hexdigest()[:12],
    }


class ResumeCallback(pl.Callback):
    """Restores a saved training state, and saves the state periodically.

    It comes after `EpochEnd` among the callbacks, so that an epoch is reported before it is saved:
    after an interruption in between it is trained and reported once more.
    """

    def __init__(
        self,
        epoch_end: EpochEnd,
        made_for: Mapping[str, Any],
        *,
        resume_from: Path | None,
        save_to: Path | None,
        save_every: int | None,
        ranks: Ranks = SINGLE_PROCESS,
        save_request: SaveRequest | None = None,
    ) -> None:
        """See `fit.train_network`; of several processes the first one reads and writes.

        Raises:
            UserError: the state is damaged, or belongs to another training.
        """
        self.epoch_end = epoch_end
        self.made_for = made_for
        self.save_to = save_to if ranks.is_first else None
        self.save_every = save_every
        self._saved_s = time.perf_counter()
        self._request = save_request or SaveRequest()
        self._keeps_states = save_request is not None and ranks.size == 1
        self._latest: TrainingState | None = None
        """the state after the last epoch, where epochs are long and it is not on disk"""
        self._epoch_began_s = 0.0
        found = load_state(resume_from) if resume_from is not None and ranks.is_first else None
        self._state: TrainingState | None = ranks.broadcast(found, device=speed.training_device())
        if self._state is not None and resume_from is not None:
            _refuse_other_training(self._state.made_for, made_for, resume_from)

    @property
    def epochs_done(self) -> int:
        """The number of epochs of the saved training."""
        return int(self._state.numbers["epoch"]) if self._state is not None else 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._state is not None and isinstance(pl_module, GenreClassifier):
            _restore(self._state, trainer, pl_module, self.epoch_end)

    def on_train_epoch_start(self, *_: object) -> None:
        self._epoch_began_s = time.perf_counter()

    def after_step(self) -> None:
        """Interrupts a long epoch where that is requested, with the state after the one before.

        Raises:
            TrainingInterrupted: the state is saved.
        """
        if self._request.is_urgent and self._keeps_states:
            if self._latest is not None and self.save_to is not None:
                save_state(self.save_to, self._latest)
            raise TrainingInterrupted(f"interrupted after epoch {self.epoch_end.epoch}")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = self.epoch_end.epoch
        if self.save_to is None or trainer.should_stop or epoch == trainer.max_epochs:
            return
        now = time.perf_counter()
        if self._request.is_made and self._keeps_states and isinstance(pl_module, GenreClassifier):
            save_state(self.save_to, _capture(self.made_for, trainer, pl_module, self.epoch_end))
            raise TrainingInterrupted(f"interrupted after epoch {epoch}")
        due = (
            now - self._saved_s >= SAVE_INTERVAL_S
            if not self.save_every
            else epoch % self.save_every == 0
        )
        if due and isinstance(pl_module, GenreClassifier):
            # the previous state stays valid, so a failure costs only some epochs
            with skip_if_unwritable(f"the state after epoch {epoch}", self.epoch_end.left_out):
                save_state(
                    self.save_to, _capture(self.made_for, trainer, pl_module, self.epoch_end)
                )
            self._saved_s = time.perf_counter()
            self._latest = None
        elif (
            self._keeps_states
            and now - self._epoch_began_s > MAX_WAIT_S
            and isinstance(pl_module, GenreClassifier)
        ):
            state = _capture(self.made_for, trainer, pl_module, self.epoch_end)
            self._latest = _copied(state)


def _copied(state: TrainingState) -> TrainingState:
    """A copy that further steps do not change."""
    numbers = json.loads(json.dumps(state.numbers))
    tensors = {name: value.clone() for name, value in state.tensors.items()}
    return TrainingState(state.made_for, numbers, tensors)


def _refuse_other_training(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], folder: Path
) -> None:
    ours = json.loads(json.dumps(ours))
    other = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
    if other:
        differences = join_first(
            f"{key} was {theirs.get(key)}, is {ours.get(key)}" for key in other
        )
        raise UserError(
            f"the training state in '{folder}' is that of another training: {differences}; give "
            f"the same config and data, or remove the folder to train from the beginning"
        )


def _capture(
    made_for: Mapping[str, Any], trainer: pl.Trainer, module: GenreClassifier, epoch_end: EpochEnd
) -> TrainingState:
    kept, ema = epoch_end.kept, module.ema
    numbers = {
        "epoch": epoch_end.epoch,
        "step": trainer.global_step,
        "plateau": dataclasses.asdict(module.plateau),
        "n_averaged": ema.n_updates if ema is not None else 0,
        "kept": {"epoch": kept.epoch, "score": list(kept.score), "metrics": dict(kept.metrics)},
        "history": epoch_end.history,
        "train_s": epoch_end.train_s,
        "valid_s": epoch_end.valid_s,
    }
    parts: dict[str, Mapping[str, Tensor]] = {
        "module": module.state_dict(),
        "optimizer": optimizers.optimizer_state(trainer.optimizers[0]),
        "average": ema.state() if ema is not None else {},
        "kept": kept.weights,
        "proba": {"kept": torch.from_numpy(kept.proba)},
    }
    tensors = {f"{part}/{k}": v.detach() for part, some in parts.items() for k, v in some.items()}
    return TrainingState(made_for, numbers, tensors)


def _restore(
    state: TrainingState, trainer: pl.Trainer, module: GenreClassifier, epoch_end: EpochEnd
) -> None:
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.tensors.items():
        part, name = key.split("/", 1)
        parts.setdefault(part, {})[name] = value
    numbers = state.numbers
    module.load_state_dict(parts["module"])
    module.plateau = type(module.plateau)(**numbers["plateau"])
    optimizers.restore_optimizer(trainer.optimizers[0], parts.get("optimizer", {}))
    if module.ema is not None:
        module.ema.restore(parts["average"], numbers["n_averaged"])
    kept = numbers["kept"]
    epoch_end.kept = KeptEpoch(
        epoch=kept["epoch"],
        score=tuple(kept["score"]),
        metrics=kept["metrics"],
        proba=parts["proba"]["kept"].numpy(),
        weights={k: v.to(module.device) for k, v in parts.get("kept", {}).items()},
    )
    epoch_end.epoch = numbers["epoch"]
    epoch_end.history = list(numbers["history"])
    epoch_end.train_s, epoch_end.valid_s = numbers["train_s"], numbers["valid_s"]
    # Lightning's own counters: current_epoch, and global_step
    epochs: Any = trainer.fit_loop.epoch_progress.current
    epochs.processed = epochs.completed = numbers["epoch"]
    steps = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step
    steps.total.completed = steps.total.ready = numbers["step"]
