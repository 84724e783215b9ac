import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chorale.datasets.errors import UserError
from chorale.lightning_models.architectures import autoencoder_cnn, cnn
from chorale.lightning_models.data.datamodule import FoldData, MemoryFrames
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import resume
from chorale.lightning_models.training.fit import TrainedNetwork, train_network
from chorale.lightning_models.training.interruption import SaveRequest, TrainingInterrupted
from chorale.lightning_models.training.resume import TrainingState

EPOCHS = 4


def fold(*, n: int = 30, seed: int = 0) -> FoldData:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    tracks = []
    for label in labels:
        track = rng.normal(-30, 8, (12, int(rng.integers(10, 30))))
        track[4 * label : 4 * label + 4] += 6
        tracks.append(track.astype(np.float32))
    rows = np.arange(n)
    return FoldData(
        store=MemoryFrames.of(tracks, frame_rate_hz=20.0),
        train_rows=rows[: 2 * n // 3],
        valid_rows=rows[2 * n // 3 :],
        labels=labels,
        n_classes=3,
    )


class Broken(Exception):  # noqa: N818 - the lights go out
    pass


class Recorder(list[tuple[int, Mapping[str, float]]]):
    """An `on_epoch` that records its arguments and raises at epoch `until`."""

    def __init__(self, until: int | None = None) -> None:
        super().__init__()
        self.until = until

    def __call__(self, epoch: int, scores: Mapping[str, float]) -> bool:
        self.append((epoch, scores))
        if epoch == self.until:
            raise Broken
        return False


def fit(settings: Mapping[str, Any] | None = None, **changes: Any) -> TrainedNetwork:
    settings = {"max_epochs": EPOCHS, "crop_s": 1.0, "batch_size": 5, **(settings or {})}
    arguments: dict[str, Any] = {
        "architecture": "cnn",
        "config": cnn.Config(n_layers=2, width=4, dense=8, dropout=0.4),
        "data": fold(),
        "seed": 0,
        "keep": "best",
        "objective": "log_loss",
        "on_epoch": Recorder(),
        "log_dir": None,
        **changes,
    }
    return train_network(train_config=TrainConfig(**settings), **arguments)


def interrupt(folder: Path, after: int, settings: Mapping[str, Any], **changes: Any) -> None:
    """A training that is saved after each epoch and dies in the one after `after`."""
    with pytest.raises(Broken):
        fit(settings, save_to=folder, save_every=1, on_epoch=Recorder(after + 1), **changes)


AUGMENTED = {"mixup_alpha": 0.3, "n_masks": 1, "label_smoothing": 0.1}
CASES: list[Any] = [
    pytest.param({"optimizer": "adamw", "schedule": "one_cycle", **AUGMENTED}, {}, id="adamw"),
    pytest.param({"optimizer": "adam", "schedule": "cosine", "beta2": 0.95}, {}, id="adam"),
    pytest.param({"optimizer": "sgd", "schedule": "constant", **AUGMENTED}, {}, id="sgd"),
    pytest.param({"optimizer": "sgd", "momentum": 0.0}, {}, id="sgd-plain"),
    pytest.param({"optimizer": "rmsprop", "schedule": "cosine"}, {}, id="rmsprop"),
    pytest.param({"optimizer": "adamw", "ema_decay": 0.9, **AUGMENTED}, {}, id="ema"),
    pytest.param({"optimizer": "sgd", "ema_decay": 0.9}, {"keep": "last"}, id="ema-keep-last"),
    pytest.param(
        {"optimizer": "adam", "lr": 1e-7, "schedule": "plateau", "ema_decay": 0.5, "warm_up": 0.0},
        {},
        id="plateau-ema",
    ),
    pytest.param(
        {"optimizer": "adam", "lr": 0.03, "schedule": "plateau"},
        {"keep": "last"},
        id="plateau-last",
    ),
    pytest.param(
        {},
        {
            "architecture": "autoencoder_cnn",
            "config": autoencoder_cnn.Config(
                n_layers=2, width=4, filters=8, dense=8, mode="first", pretrain=0.5, freeze=True
            ),
        },
        id="autoencoder",
    ),
]


@cache
def run_uninterrupted(case: int) -> tuple[TrainedNetwork, Recorder]:
    settings, changes = CASES[case].values
    seen = Recorder()
    return fit(settings, on_epoch=seen, **changes), seen


class Requesting(Recorder):
    """An `on_epoch` that asks for the training's state at epoch `until`."""

    def __init__(self, until: int, request: SaveRequest) -> None:
        super().__init__()
        self.at, self.request = until, request

    def __call__(self, epoch: int, scores: Mapping[str, float]) -> bool:
        if epoch == self.at:
            self.request.request()
        return super().__call__(epoch, scores)


class InTheMiddle(SaveRequest):
    """Becomes urgent in the third step after it was made."""

    n_steps = 0

    @property
    def is_made(self) -> bool:
        return False  # the epoch's end comes too late

    @property
    def is_urgent(self) -> bool:
        self.n_steps += super().is_made
        return self.n_steps == 3


@pytest.mark.parametrize("case", range(len(CASES)), ids=[case.id for case in CASES])
def test_an_interruption_by_request_saves_the_epoch_and_resumes_to_the_same_weights(
    case: int, tmp_path: Path
) -> None:
    settings, changes = CASES[case].values
    request = SaveRequest()
    seen = Requesting(2, request)
    with pytest.raises(TrainingInterrupted, match="after epoch 2"):
        fit(settings, save_to=tmp_path, on_epoch=seen, save_request=request, **changes)
    assert [epoch for epoch, _ in seen] == [1, 2]
    check_resumed(case, tmp_path, 2)


@pytest.mark.parametrize("case", [0, 6], ids=["adamw", "ema-keep-last"])
def test_a_long_epoch_is_interrupted_with_the_state_after_the_one_before(
    case: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, changes = CASES[case].values
    monkeypatch.setattr(resume, "MAX_WAIT_S", 0.0)  # every epoch is long
    request = InTheMiddle()
    seen = Requesting(2, request)
    with pytest.raises(TrainingInterrupted, match="after epoch 2"):
        fit(settings, save_to=tmp_path, on_epoch=seen, save_request=request, **changes)
    assert request.n_steps == 3
    check_resumed(case, tmp_path, 2)


def test_an_interruption_before_the_first_epoch_has_ended_starts_again(tmp_path: Path) -> None:
    request = InTheMiddle()
    request.request()
    with pytest.raises(TrainingInterrupted, match="after epoch 0"):
        fit({}, save_to=tmp_path, save_request=request)
    assert not list(tmp_path.iterdir())


def test_a_request_is_urgent_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    request = SaveRequest()
    assert not request.is_made
    request.request()
    now[0] += 1.9
    request.request()  # asked again, it does not begin again
    assert (request.is_made, request.is_urgent) == (True, False)
    now[0] += 0.2
    assert request.is_urgent


def check_resumed(case: int, folder: Path, after: int) -> None:
    """Resumed after an epoch, the training ends as if it had not been interrupted."""
    settings, changes = CASES[case].values
    expected, all_epochs = run_uninterrupted(case)
    seen = Recorder()
    found = fit(settings, resume_from=folder, save_to=folder, on_epoch=seen, **changes)
    assert found.resumed_after == after
    assert seen == all_epochs[after:]
    weights, others = found.module.state_dict(), expected.module.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in others)


@pytest.mark.parametrize(
    ("case", "after"),
    [
        pytest.param(i, after, id=f"{case.id}-{after}")
        for i, case in enumerate(CASES)
        for after in (1, 2, 3)
        if after != 2 or case.id == "autoencoder"  # its second phase begins there
    ],
)
def test_a_resumed_training_is_bit_identical_to_an_uninterrupted_one(
    case: int, after: int, tmp_path: Path
) -> None:
    settings, changes = CASES[case].values
    uninterrupted, seen = run_uninterrupted(case)
    rest = Recorder()
    interrupt(tmp_path, after, settings, **changes)
    # something else happens in the process in between
    torch.rand(3)
    resumed = fit(settings, resume_from=tmp_path, on_epoch=rest, **changes)
    assert resumed.resumed_after == after
    assert rest == seen[after:]
    assert resumed.history == uninterrupted.history
    assert [row["epoch"] for row in resumed.history] == list(range(1, EPOCHS + 1))
    assert (resumed.epoch, resumed.metrics) == (uninterrupted.epoch, uninterrupted.metrics)
    np.testing.assert_array_equal(resumed.proba, uninterrupted.proba)
    mine, theirs = resumed.module.state_dict(), uninterrupted.module.state_dict()
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


def test_a_training_can_be_interrupted_more_than_once(tmp_path: Path) -> None:
    uninterrupted = fit()
    interrupt(tmp_path, 1, {})
    interrupt(tmp_path, 2, {}, resume_from=tmp_path)
    resumed = fit(resume_from=tmp_path, save_to=tmp_path, save_every=1)
    assert resumed.resumed_after == 2
    np.testing.assert_array_equal(resumed.proba, uninterrupted.proba)


def test_the_best_epoch_before_an_interruption_is_kept_after_it(tmp_path: Path) -> None:
    data = fold()
    noise = np.random.default_rng(4).integers(0, 3, len(data.labels))
    hopeless = FoldData(data.store, data.train_rows, data.valid_rows, noise, 3)
    settings = {"lr": 0.01}
    uninterrupted = fit(settings, data=hopeless)
    assert uninterrupted.epoch < 3  # then it memorises
    interrupt(tmp_path, 3, settings, data=hopeless)
    resumed = fit(settings, data=hopeless, resume_from=tmp_path)
    assert resumed.epoch == uninterrupted.epoch
    np.testing.assert_array_equal(resumed.proba, uninterrupted.proba)


def test_without_a_saved_state_it_starts_from_the_beginning(tmp_path: Path) -> None:
    seen = Recorder()
    trained = fit(resume_from=tmp_path / "nowhere", on_epoch=seen)
    assert (trained.resumed_after, len(seen)) == (0, EPOCHS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"lr": 0.002}}, r"train\.lr was 0.001, is 0.002"),
        ({"config": cnn.Config(n_layers=2, width=8)}, r"config\.width was 4, is 8"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"data": fold(n=33)}, "n_train was 20, is 22"),
        ({"data": fold(seed=1)}, "features was "),
        ({"keep": "last"}, "keep was best, is last"),
    ],
)
def test_a_state_of_another_training_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    interrupt(tmp_path, 1, {})
    with pytest.raises(UserError, match=message) as caught:
        fit(changes.pop("settings", {}), resume_from=tmp_path, **changes)
    assert "\n" not in str(caught.value)
    assert "remove the folder" in str(caught.value)


def test_a_short_training_saves_nothing_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "SAVE_INTERVAL_S", 3600.0)  # on a busy machine nothing is short
    fit(save_to=tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_states_are_saved_at_the_configured_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []
    monkeypatch.setattr(
        resume, "save_state", lambda folder, state: epochs.append(state.numbers["epoch"])
    )
    fit({"max_epochs": 7}, save_to=tmp_path, save_every=2)
    assert epochs == [2, 4, 6]
    epochs.clear()
    monkeypatch.setattr(resume, "SAVE_INTERVAL_S", 0.0)
    fit({"max_epochs": 4}, save_to=tmp_path)
    assert epochs == [1, 2, 3]  # the last needs no resume


def test_a_stopped_training_saves_nothing_more(tmp_path: Path) -> None:
    fit(save_to=tmp_path / "state", save_every=1, on_epoch=lambda epoch, scores: True)
    assert not (tmp_path / "state").exists()


def state(value: float) -> TrainingState:
    return TrainingState({"seed": 0}, {"epoch": 3, "best": 0.1}, {"a/b": torch.full((4, 3), value)})


def test_a_state_round_trips_and_one_file_of_tensors_remains(tmp_path: Path) -> None:
    resume.save_state(tmp_path, state(1.0))
    resume.save_state(tmp_path, state(2.0))
    loaded = resume.load_state(tmp_path)
    assert loaded is not None
    assert (loaded.made_for, loaded.numbers) == ({"seed": 0}, {"epoch": 3, "best": 0.1})
    assert torch.equal(loaded.tensors["a/b"], torch.full((4, 3), 2.0))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("file", ["atomic_write", "write_json"])
def test_an_interrupted_save_keeps_the_previous_state(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resume.save_state(tmp_path, state(1.0))

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(resume, file, full)
    with pytest.raises(OSError, match="no space"):
        resume.save_state(tmp_path, state(2.0))
    loaded = resume.load_state(tmp_path)
    assert loaded is not None
    assert float(loaded.tensors["a/b"][0, 0]) == 1.0


def truncate(folder: Path) -> None:
    (path,) = folder.glob("state-*")
    path.write_bytes(path.read_bytes()[:-1])


def lose(folder: Path) -> None:
    (path,) = folder.glob("state-*")
    path.unlink()


def garble(folder: Path) -> None:
    (folder / "state.json").write_text('{"made_for": ')


def empty(folder: Path) -> None:
    (folder / "state.json").write_text("[]")


def swap(folder: Path) -> None:
    content = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**content, "sha256": "0" * 64}))


@pytest.mark.parametrize("damage", [truncate, lose, garble, empty, swap])
def test_a_damaged_state_is_refused_in_one_line(damage: Any, tmp_path: Path) -> None:
    resume.save_state(tmp_path, state(1.0))
    damage(tmp_path)
    with pytest.raises(UserError, match="cannot be used") as caught:
        resume.load_state(tmp_path)
    assert "\n" not in str(caught.value)
