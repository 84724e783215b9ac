import json
from pathlib import Path
from typing import Any

import pytest
import torch

from chorale.datasets.errors import UserError
from chorale.lightning_models.architectures import cnn
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training.checkpoint import load_checkpoint, save_checkpoint
from chorale.lightning_models.training.module import GenreClassifier

LABELS = ["blues", "disco", "rock"]


def classifier(seed: int = 0) -> GenreClassifier:
    torch.manual_seed(seed)
    return GenreClassifier(
        architecture="cnn",
        config=cnn.Config(n_layers=2, width=4, dense=8),
        train_config=TrainConfig(lr=0.002, crop_s=1.5),
        input_shape=(1, 8, 12),
        n_classes=3,
        statistics=(torch.arange(8.0), torch.arange(1.0, 9.0)),
    ).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "best", classifier(), {"labels": LABELS, "feature": "mel"})
    return tmp_path / "best"


def change(folder: Path, **values: Any) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, **values}))


def test_a_module_round_trips_through_a_checkpoint(folder: Path) -> None:
    module, card = load_checkpoint(folder)
    x = torch.randn(2, 1, 8, 12)
    assert torch.equal(module(x), classifier()(x))
    assert torch.equal(module.mean, classifier().mean)
    assert (module.train_config, module.config) == (
        TrainConfig(lr=0.002, crop_s=1.5),
        cnn.Config(n_layers=2, width=4, dense=8),
    )
    assert not module.training
    assert (card["labels"], card["feature"], card["n_classes"]) == (LABELS, "mel", 3)
    assert card["versions"]["torch"].startswith("2.")


def test_saving_again_replaces_the_file_of_weights(folder: Path) -> None:
    save_checkpoint(folder, classifier(seed=1), {"labels": LABELS})
    x = torch.randn(2, 1, 8, 12)
    assert torch.equal(load_checkpoint(folder)[0](x), classifier(seed=1)(x))
    assert len(list(folder.iterdir())) == 2


def test_an_interrupted_save_keeps_the_old_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("chorale.lightning_models.training.checkpoint.write_json", full)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint(folder, classifier(seed=1), {"labels": LABELS})
    x = torch.randn(2, 1, 8, 12)
    assert torch.equal(load_checkpoint(folder)[0](x), classifier()(x))


def test_saving_and_loading_do_not_change_the_random_state(folder: Path) -> None:
    before = torch.get_rng_state()
    load_checkpoint(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_labels_that_do_not_match_the_outputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3 outputs cannot have 2 labels: blues, rock"):
        save_checkpoint(tmp_path, classifier(), {"labels": ["blues", "rock"]})


def test_a_folder_without_a_checkpoint_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no checkpoint in .*nowhere"):
        load_checkpoint(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"n_classes": 4, "labels": [*LABELS, "jazz"]},
            r"network.head.bias of shape \(4,\), but .* has \(3,\)",
        ),
        ({"n_classes": 4}, "says n_classes=4, but has 3 labels"),
        ({"input_shape": [1, 16, 12]}, r"mean of shape \(1, 16, 1\), but .* has \(1, 8, 1\)"),
        ({"architecture": "cmn"}, "unknown architecture 'cmn'; did you mean 'cnn'"),
        ({"config": {"n_layers": 99}}, "config: 1 problem"),
        ({"weights": "../elsewhere.safetensors"}, "names weights outside its folder"),
        ({"weights": "other.safetensors"}, "'other.safetensors' is missing"),
        ({"labels": None}, "labels: should be a list, but got None"),
    ],
)
def test_parts_that_do_not_match_are_named_in_the_error(
    folder: Path, values: Any, message: str
) -> None:
    change(folder, **values)
    with pytest.raises(UserError, match=message):
        load_checkpoint(folder)


@pytest.mark.parametrize("keep", [0, 10, 500, -1])
def test_damaged_weights_are_refused_in_one_line(folder: Path, keep: int) -> None:
    (path,) = folder.glob("weights-*")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError) as caught:
        load_checkpoint(folder)
    assert "cannot be used" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", '{"labels": [', "[1, 2]", "\x00"])
def test_a_damaged_card_is_refused_in_one_line(folder: Path, text: str) -> None:
    (folder / "card.json").write_text(text)
    with pytest.raises(UserError) as caught:
        load_checkpoint(folder)
    assert "cannot be used" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_safetensors_is_never_unpickled(folder: Path) -> None:
    import hashlib
    import pickle

    data = pickle.dumps({"network.head.weight": [1.0]})
    (path,) = folder.glob("weights-*")
    path.write_bytes(data)
    change(folder, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(UserError, match="is not a safetensors file"):
        load_checkpoint(folder)
