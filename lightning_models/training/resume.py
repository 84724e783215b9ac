"""A training that was broken off goes on as if nothing had happened: its state on disk. No pickle.

`fit.train` hangs `Resumer` into Lightning's Trainer; `search.training.run_trial` says where the
state lies.
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

from chorale.datasets.atomic import atomic, write_json
from chorale.datasets.config import plain
from chorale.datasets.disk import unless_full
from chorale.datasets.errors import UserError, shown
from chorale.lightning_models.data.datamodule import FoldData
from chorale.lightning_models.training import optimizers, speed
from chorale.lightning_models.training.callbacks import Kept, Watch
from chorale.lightning_models.training.module import GenreClassifier
from chorale.lightning_models.training.ranks import ALONE, Ranks

NUMBERS = "state.json"

SAVE_S = 10.0
"""Seconds between two saves where nobody says otherwise: what breaks off loses no more than that
and an epoch, and a training that is over sooner writes nothing."""


@dataclass(frozen=True, eq=False)
class State:
    """A training between two epochs: `made_for` says of what, flat and ready for JSON."""

    made_for: Mapping[str, Any]
    numbers: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def save(folder: Path, state: State) -> None:
    """Writes a state into `folder`; the one that was there stays valid until the last moment.

    The tensors' file carries a part of its hash in its name, and `state.json`, which is renamed
    last, names it.
    """
    data = safetensors.torch.save({k: v.cpu().contiguous() for k, v in state.tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    name = f"state-{digest[:12]}.safetensors"
    with atomic(folder / name) as temporary:
        temporary.write_bytes(data)
    said = {"made_for": state.made_for, "numbers": state.numbers, "file": name, "sha256": digest}
    write_json(folder / NUMBERS, said)
    for other in folder.glob("state-*.safetensors"):
        if other.name != name:
            other.unlink()


def load(folder: Path) -> State | None:
    """Reads a state back; None where none was saved.

    Raises:
        UserError: it is damaged.
    """
    try:
        said = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
        data = (folder / Path(said["file"]).name).read_bytes()
        if hashlib.sha256(data).hexdigest() != said["sha256"]:
            raise ValueError(f"{said['file']} is not the file that {NUMBERS} was written for")
        return State(said["made_for"], said["numbers"], safetensors.torch.load(data))
    except (FileNotFoundError, NotADirectoryError) as error:
        if not (folder / NUMBERS).exists():
            return None
        why: Exception = error
    except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        why = error
    raise UserError(
        f"the training state in '{folder}' cannot be used: {type(why).__name__}: {why}; remove the "
        f"folder to train from the beginning"
    )


def discard(folder: Path) -> None:
    """Removes a state that is needed no more; does nothing where there is none."""
    (folder / NUMBERS).unlink(missing_ok=True)
    for path in folder.glob("state-*.safetensors"):
        path.unlink()


def digest(tensors: Mapping[str, Tensor]) -> str:
    """A part of the hash of named tensors, to tell them from others."""
    found = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        found.update(name.encode())
        found.update(value.cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:12]


def described(module: GenreClassifier, data: FoldData, **more: Any) -> dict[str, Any]:
    """All that a training follows from, flat, so that two can be compared line by line."""
    tracks = hashlib.sha256()
    for array in (data.train_rows, data.valid_rows, data.labels):
        tracks.update(array.tobytes())
    features = hashlib.sha256()
    for buffer in (module.mean, module.std):
        features.update(buffer.cpu().numpy().tobytes())
    if data.targets is not None:  # of the training rows: no other is read
        told = np.ascontiguousarray(data.targets[data.train_rows], dtype=np.float32)
        more["targets"] = hashlib.sha256(told.tobytes()).hexdigest()[:12]
    return {
        "architecture": module.architecture,
        **{f"config.{k}": v for k, v in plain(module.config).items()},
        **{f"train.{k}": v for k, v in plain(module.train_config).items()},
        "seed": module.seed,
        **more,
        "input_shape": list(module.input_shape),
        "n_classes": module.n_classes,
        "n_train": len(data.train_rows),
        "n_valid": len(data.valid_rows),
        "tracks": tracks.hexdigest()[:12],
        "features": features.hexdigest()[:12],
    }


class Resumer(pl.Callback):
    """Puts a training where a saved one stood, and saves it from time to time.

    It comes after the `Watch` among the callbacks, so that an epoch was told of before it is
    saved: one that was broken off in between is trained, and told of, once more.
    """

    def __init__(
        self,
        watch: Watch,
        made_for: Mapping[str, Any],
        *,
        resume_from: Path | None,
        save_to: Path | None,
        save_every: int | None,
        ranks: Ranks = ALONE,
    ) -> None:
        """See `fit.train`; of several processes the first one reads and writes.

        Raises:
            UserError: the state is damaged, or that of another training.
        """
        self.watch = watch
        self.made_for = made_for
        self.save_to = save_to if ranks.is_first else None
        self.save_every = save_every
        self._saved_s = time.perf_counter()
        found = load(resume_from) if resume_from is not None and ranks.is_first else None
        self._state: State | None = ranks.from_first(found, device=speed.device())
        if self._state is not None and resume_from is not None:
            _refuse_another(self._state.made_for, made_for, resume_from)

    @property
    def epochs_done(self) -> int:
        """Those of the saved training."""
        return int(self._state.numbers["epoch"]) if self._state is not None else 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._state is not None and isinstance(pl_module, GenreClassifier):
            _restore(self._state, trainer, pl_module, self.watch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = self.watch.epoch
        if self.save_to is None or trainer.should_stop or epoch == trainer.max_epochs:
            return
        now = time.perf_counter()
        due = now - self._saved_s >= SAVE_S if not self.save_every else epoch % self.save_every == 0
        if due and isinstance(pl_module, GenreClassifier):
            # The one that was saved before stays whole, so all it costs is some epochs more.
            with unless_full(f"the state after epoch {epoch}", self.watch.left_out):
                save(self.save_to, _capture(self.made_for, trainer, pl_module, self.watch))
            self._saved_s = time.perf_counter()


def _refuse_another(theirs: Mapping[str, Any], ours: Mapping[str, Any], folder: Path) -> None:
    ours = json.loads(json.dumps(ours))
    other = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
    if other:
        differences = shown(f"{key} was {theirs.get(key)}, is {ours.get(key)}" for key in other)
        raise UserError(
            f"the training state in '{folder}' is that of another training: {differences}; give "
            f"the same config and data, or remove the folder to train from the beginning"
        )


def _capture(
    made_for: Mapping[str, Any], trainer: pl.Trainer, module: GenreClassifier, watch: Watch
) -> State:
    kept, average = watch.kept, module.average
    numbers = {
        "epoch": watch.epoch,
        "step": trainer.global_step,
        "plateau": dataclasses.asdict(module.plateau),
        "n_averaged": average.n_seen if average is not None else 0,
        "kept": {"epoch": kept.epoch, "score": list(kept.score), "metrics": dict(kept.metrics)},
        "history": watch.history,
        "train_s": watch.train_s,
        "valid_s": watch.valid_s,
    }
    parts: dict[str, Mapping[str, Tensor]] = {
        "module": module.state_dict(),
        "optimizer": optimizers.state_of(trainer.optimizers[0]),
        "average": average.state() if average is not None else {},
        "kept": kept.weights,
        "proba": {"kept": torch.from_numpy(kept.proba)},
    }
    tensors = {f"{part}/{k}": v.detach() for part, some in parts.items() for k, v in some.items()}
    return State(made_for, numbers, tensors)


def _restore(state: State, trainer: pl.Trainer, module: GenreClassifier, watch: Watch) -> None:
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in state.tensors.items():
        part, name = key.split("/", 1)
        parts.setdefault(part, {})[name] = value
    numbers = state.numbers
    module.load_state_dict(parts["module"])
    module.plateau = type(module.plateau)(**numbers["plateau"])
    optimizers.restore(trainer.optimizers[0], parts.get("optimizer", {}))
    if module.average is not None:
        module.average.restore(parts["average"], numbers["n_averaged"])
    kept = numbers["kept"]
    watch.kept = Kept(
        epoch=kept["epoch"],
        score=tuple(kept["score"]),
        metrics=kept["metrics"],
        proba=parts["proba"]["kept"].numpy(),
        weights={k: v.to(module.device) for k, v in parts.get("kept", {}).items()},
    )
    watch.epoch = numbers["epoch"]
    watch.history = list(numbers["history"])
    watch.train_s, watch.valid_s = numbers["train_s"], numbers["valid_s"]
    # Lightning's own counters: current_epoch, and global_step
    epochs: Any = trainer.fit_loop.epoch_progress.current
    epochs.processed = epochs.completed = numbers["epoch"]
    steps = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step
    steps.total.completed = steps.total.ready = numbers["step"]
