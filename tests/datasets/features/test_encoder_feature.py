"""Encoder embeddings equal the network's output, and malicious files are rejected."""

import io
import json
import logging
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from chorale.datasets.audio import content_hash
from chorale.datasets.config import read_config, to_plain_values
from chorale.datasets.errors import UserError
from chorale.datasets.features import encoder
from chorale.datasets.pretrained import running, track_frames
from chorale.datasets.programs import exported_program, pipelines
from chorale.datasets.store import cache
from chorale.datasets.store.extraction import FeatureRecipe
from tests.datasets.programs import model_files

RATE = 16_000
CHUNK_S = 0.5
N_BINS = 6
TINY = {
    "extractor_mode": "group_norm",
    "extractor_conv_layer_config": [(8, 10, 5), (8, 8, 8), (8, 8, 8)],  # 320 samples a frame
    "extractor_conv_bias": False,
    "encoder_embed_dim": 12,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 8,
    "encoder_pos_conv_groups": 2,
    "encoder_num_layers": 3,
    "encoder_num_heads": 2,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 16,
    "encoder_ff_interm_dropout": 0.0,
    "encoder_dropout": 0.1,
    "encoder_layer_norm_first": False,
    "encoder_layer_drop": 0.05,
    "aux_num_out": None,
}


class Net(torch.nn.Module):
    """`(1, n_samples)` -> `(1, n_samples // 320, N_BINS)`."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = torch.nn.Linear(320, N_BINS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n_frames = x.shape[1] // 320
        return torch.tanh(self.layer(x[:, : n_frames * 320].reshape(1, n_frames, 320)))


class Around(torch.nn.Module):
    """Wraps a `Net`, as TorchScript does not support `super()`."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()


class Clip(Around):
    """`(1, n_samples)` -> `(1, N_BINS)`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.mean(self.net(x), dim=1)


def export(net: torch.nn.Module, file: Path) -> Path:
    example = torch.zeros(1, round(CHUNK_S * RATE))
    torch.export.save(torch.export.export(net.eval(), (example,)), file)
    return file


def script(net: torch.nn.Module, file: Path) -> Path:
    torch.jit.script(net.eval()).save(str(file))  # type: ignore[no-untyped-call]
    return file


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(Net(), tmp_path_factory.mktemp("programs") / "net.pt2")


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return script(Net(), tmp_path_factory.mktemp("programs") / "net.pt")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Any, Path]:
    """A wav2vec 2.0 of random weights, registered in torchaudio as TINY, and their file."""
    import torchaudio
    from torchaudio.models import wav2vec2_model

    bundle = torchaudio.pipelines.Wav2Vec2Bundle("tiny.pth", TINY, RATE, True, "Wav2Vec2")
    monkeypatch.setattr(torchaudio.pipelines, "TINY", bundle, raising=False)
    torch.manual_seed(0)
    model = wav2vec2_model(**TINY).eval()
    file = tmp_path / "tiny.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, file)
    return model, file


def sound(n_samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.asarray(0.1 * rng.standard_normal(n_samples), np.float32)


def config_of(file: Path, **values: Any) -> encoder.Config:
    return encoder.Config(path=str(file), chunk_s=CHUNK_S, **values)


def by_hand(net: torch.nn.Module, waveform: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(net.cpu()(torch.from_numpy(waveform)[None])[0].numpy()).T


# -- what comes out ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_samples", [16_000, 8_000, 20_000, 19_999, 4_000, 12])
@pytest.mark.parametrize("kind", ["exported", "scripted"])
def test_frames_equal_the_output_of_the_network(
    kind: str, n_samples: int, request: pytest.FixtureRequest
) -> None:
    config = config_of(request.getfixturevalue(kind))
    waveform = sound(n_samples)
    made = encoder.extract(waveform, config)
    n_frames = n_samples * config.frame_rate_hz / RATE
    assert made.dtype == np.float32
    assert made.shape[0] == config.n_bins == N_BINS
    assert config.frame_rate_hz == 50.0
    assert abs(made.shape[1] - n_frames) <= 1
    assert made.shape[1] >= 1
    padded = np.pad(waveform, (0, max(0, 320 - n_samples)))
    same = n_samples // 8000 * 25 if n_samples % 8000 else made.shape[1]
    expected = by_hand(Net(), padded)
    same = same or min(made.shape[1], expected.shape[1])  # shorter than a chunk
    np.testing.assert_allclose(made[:, :same], expected[:, :same], atol=1e-6)


def test_the_last_chunk_includes_preceding_context(exported: Path) -> None:
    waveform = sound(20_000)
    made = encoder.extract(waveform, config_of(exported))
    last = by_hand(Net(), waveform[-8000:])
    np.testing.assert_allclose(made[:, 50:], last[:, -12:], atol=1e-6)
    assert made.shape == (N_BINS, 62)


@pytest.mark.parametrize("layer", [None, 1, 2])
def test_the_frames_of_a_pipeline_are_those_of_its_layer(
    tiny: tuple[Any, Path], layer: int
) -> None:
    model, file = tiny
    waveform = sound(16_000)
    config = config_of(file, bundle="TINY", layer=layer)
    made = encoder.extract(waveform, config)
    halves = torch.from_numpy(waveform).reshape(2, 1, 8000)
    with torch.inference_mode():
        outputs = [
            model.extract_features(torch.nn.functional.layer_norm(half, half.shape))[0][
                (layer or 3) - 1
            ][0]
            for half in halves
        ]
    np.testing.assert_allclose(made, torch.cat(outputs).numpy().T, atol=1e-4)
    assert made.shape[0] == config.n_bins == 12
    assert made.shape[1] == 2 * CHUNK_S * config.frame_rate_hz


def test_a_network_that_pools_over_time_gives_one_frame_per_chunk(tmp_path: Path) -> None:
    config = config_of(script(Clip(), tmp_path / "clip.pt"))
    waveform = sound(24_000)
    made = encoder.extract(waveform, config)
    assert made.shape == (N_BINS, 3)
    assert config.frame_rate_hz == 2.0
    np.testing.assert_allclose(
        made[:, 1], by_hand(Net(), waveform[8000:16_000]).mean(axis=1), atol=1e-6
    )


def test_frames_are_averaged_by_pool(exported: Path) -> None:
    waveform = sound(16_000)
    every = encoder.extract(waveform, config_of(exported))
    pooled = config_of(exported, pool=20)
    made = encoder.extract(waveform, pooled)
    assert pooled.frame_rate_hz == 2.5
    assert made.shape == (N_BINS, 3)  # 20 + 20 + 10 of 50
    np.testing.assert_allclose(made[:, 1], every[:, 20:40].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(made[:, 2], every[:, 40:].mean(axis=1), atol=1e-6)


def test_the_network_input_is_never_longer_than_a_chunk(
    scripted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, lengths = config_of(scripted), []
    run = running.run_encoder

    def listening(source: running.EncoderSource, windows: np.ndarray) -> np.ndarray:
        lengths.append(windows.shape[1])
        return run(source, windows)

    monkeypatch.setattr(track_frames, "run_encoder", listening)
    encoder.extract(sound(100_000), config)
    assert max(lengths) == config.n_chunk


def test_extraction_is_deterministic_and_keeps_the_thread_count(
    exported: Path,
) -> None:
    before = torch.get_num_threads()
    waveform = sound(30_000)
    first = encoder.extract(waveform, config_of(exported))
    running._loaded.cache_clear()
    np.testing.assert_array_equal(first, encoder.extract(waveform, config_of(exported)))
    assert torch.get_num_threads() == before


def test_an_empty_waveform_raises(exported: Path) -> None:
    with pytest.raises(ValueError, match="not empty"):
        encoder.extract(np.zeros(0, np.float32), config_of(exported))


def test_embeddings_are_cached_like_other_features(exported: Path, tmp_path: Path) -> None:
    rows = []
    for i, n in enumerate((20_000, 9_000)):
        soundfile.write(tmp_path / f"{i}.wav", sound(n, i), RATE, subtype="FLOAT")
        rows.append((str(i), str(tmp_path / f"{i}.wav"), content_hash(tmp_path / f"{i}.wav"), 1.0))
    tracks = pd.DataFrame(rows, columns=["track_id", "path", "content", "duration_s"])
    config = config_of(exported)
    store = cache.build_feature_store(tracks, "encoder", config, root=tmp_path / "cache")
    assert store.lengths.tolist() == [62, 28]
    assert store.frame_rate_hz == 50.0
    made = encoder.extract(sound(9_000, 1), config)
    np.testing.assert_array_equal(store.frames[62:].T, made)


# -- the config ------------------------------------------------------------------------------


def test_the_file_hash_is_part_of_the_cache_key(tmp_path: Path) -> None:
    file = script(Net(), tmp_path / "net.pt")
    first = config_of(file)
    script(Net(seed=1), file)
    second = config_of(file)
    assert first.digest != second.digest
    assert FeatureRecipe("encoder", first).key != FeatureRecipe("encoder", second).key
    assert to_plain_values(second)["digest"] == content_hash(file)
    again = read_config(encoder.Config, to_plain_values(second), where="here")
    assert again == second == pickle.loads(pickle.dumps(second))
    with pytest.raises(UserError, match=f"another file than the one meant.*{second.digest}"):
        read_config(encoder.Config, to_plain_values(first), where="here")
    with pytest.raises(UserError, match="has changed since the sweep began"):
        encoder.extract(sound(8000), first)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "give an encoder of `chorale encoder list`"),
        ({"path": "none.pt2"}, "there is no file 'none.pt2'; give the right one with --features"),
        ({"path": "odd.h5"}, "encoders end with one of .pt2, .pt, .tflite, .onnx"),
        ({"path": "text.pt"}, "'.*text.pt' is no archive, so it is no exported program"),
        ({"path": "text.pt2"}, "'.*text.pt2' is no archive, so it is no exported program"),
        ({"path": "weights.pt"}, "no code in it, so torch.jit.save did not make it"),
        ({"path": "weights.pt2"}, "has no 'models/model.json' .* torch.export.save did not"),
        ({"path": "text.pt", "layer": 1}, "layer=1 needs a `bundle`"),
        ({"bundle": "WAV2VEC2_BAS", "path": "text.pt"}, "did you mean 'WAV2VEC2_BASE'"),
        (
            {"bundle": "WAV2VEC2_BASE"},
            "weights of WAV2VEC2_BASE have not been downloaded: .*get_model",
        ),
        ({"bundle": "WAV2VEC2_BASE", "path": "text.pt", "layer": 13}, "has 12 layers, but got"),
        (
            {"bundle": "WAV2VEC2_BASE", "path": "text.pt", "sample_rate": 22_050},
            "needs 16000 Hz, but got sample_rate=22050",
        ),
        ({"path": "text.pt", "chunk_s": 0}, "greater than 0"),
    ],
)
def test_an_invalid_config_raises_when_it_is_read(
    values: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("text.pt", "text.pt2", "odd.h5"):
        (tmp_path / name).write_text("garbage")
    for name in ("weights.pt", "weights.pt2"):
        torch.save(Net().state_dict(), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match=message) as caught:
        read_config(encoder.Config, values, where="here")
    assert str(caught.value).startswith("here: 1 problem\n  ")
    with pytest.raises(ValidationError):
        encoder.Config(**values)


def test_weights_in_the_torchaudio_cache_are_found(
    tiny: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, file = tiny
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    fetched = pipelines.fetched_weights("TINY")
    assert fetched == tmp_path / "hub" / "checkpoints" / "tiny.pth"
    fetched.parent.mkdir(parents=True)
    torch.save(model.state_dict(), fetched)
    waveform = sound(8_000)
    np.testing.assert_array_equal(
        encoder.extract(waveform, encoder.Config(bundle="TINY", chunk_s=CHUNK_S)),
        encoder.extract(waveform, config_of(file, bundle="TINY")),
    )


# -- files that are not what they should be --------------------------------------------------------


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("kind", ["garbage", "other", "bomb"])
def test_invalid_weights_raise_a_clear_error(
    kind: str, name: str, tiny: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / name
    if kind == "other" and name == "w.safetensors":
        save_file({"one": torch.zeros(1)}, file)
    else:
        torch.save({"garbage": 1, "other": {"one": torch.zeros(1)}, "bomb": Bomb()}[kind], file)
    with pytest.raises(UserError, match=r"w\.(pth|safetensors)' (does not hold|has no) .*weights"):
        encoder.extract(sound(8000), config_of(file, bundle="TINY"))
    assert not Path("exploded").exists()


class Scalar(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean()


class Nan(Around):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(self.net(x) - 2)


class Two(Around):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.net(x[:, :320] + x[:, 1:3]))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Scalar(), r"must return \(1, n_frames, n_bins\) .* it returned \(\)"),
        (Nan(), "returns numbers that are not finite"),
        (Two(), "fails on 8000 samples"),
    ],
)
def test_a_network_that_is_no_encoder_raises_a_clear_error(
    net: torch.nn.Module, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        encoder.extract(sound(8000), config_of(script(net, tmp_path / "net.pt")))


def changed(file: Path, to: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """A copy of an archive whose members went through `change`; None takes one out."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(to, "w") as new:
        for info in old.infolist():
            content = change(info.filename.partition("/")[2], old.read(info))
            if content is not None:
                new.writestr(info.filename, content)
    return to


def bomb() -> bytes:
    made = io.BytesIO()
    torch.save(Bomb(), made)
    return made.getvalue()


def edit_graph(edit: Callable[[dict[str, Any]], Any]) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        if name != "models/model.json":
            return content
        program = json.loads(content)
        edit(program["graph_module"])
        return json.dumps(program).encode()

    return change


def pickled_weight(name: str, content: bytes) -> bytes:
    if name == "data/weights/weight_0":
        return bomb()
    if name == "data/weights/model_weights_config.json":
        return content.replace(b'"use_pickle": false', b'"use_pickle": true')
    return content


def call(target: str) -> Callable[[str, bytes], bytes]:
    return edit_graph(lambda module: module["graph"]["nodes"][0].update(target=target))


def spec(kind: str, context: str) -> Callable[[str, bytes], bytes]:
    tree = json.dumps([1, {"type": kind, "context": context, "children_spec": []}])
    return edit_graph(
        lambda module: module["module_call_graph"][0]["signature"].update(in_spec=tree)
    )


def length(formula: str) -> Callable[[str, bytes], bytes]:
    value = {"as_expr": {"expr_str": formula, "hint": None}}
    return edit_graph(
        lambda module: next(iter(module["graph"]["tensor_values"].values()))["sizes"].append(value)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pickled_weight, "has 'layer.weight' as a pickle, which could run any code"),
        (call("torch.serialization.os.system"), "calls 'torch.serialization.os.system', which"),
        (call("torch.ops.aten.from_file.default"), "calls 'torch.ops.aten.from_file.default'"),
        (call("_operator.methodcaller"), "calls '_operator.methodcaller'"),
        (spec("collections.defaultdict", '{"default_factory_module": "os"}'), "takes or returns a"),
        (spec("builtins.dict", '{"__enum__": true, "fqn": "os:path"}'), "takes or returns a"),
        (length("__import__('os').system('touch exploded')"), "which is no formula"),
        (length("exec(chr(49))"), "which is no formula"),
        (lambda name, content: content if "data/" not in name else None, "cannot be loaded|damag"),
        (lambda name, content: content[:-9] if name.endswith("json") else content, "is damaged"),
    ],
)
def test_an_exported_program_with_forbidden_operators_raises(
    change: Callable[[str, bytes], bytes | None],
    message: str,
    exported: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = changed(exported, tmp_path / "bad.pt2", change)
    with pytest.raises(UserError, match=message):
        encoder.extract(sound(8000), config_of(bad))
    assert not Path("exploded").exists()


def test_example_inputs_of_an_exported_program_are_never_unpickled(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = changed(
        exported,
        tmp_path / "bad.pt2",
        lambda name, content: bomb() if name.startswith("data/sample_inputs") else content,
    )
    made = encoder.extract(sound(8000), config_of(bad))
    np.testing.assert_array_equal(made, encoder.extract(sound(8000), config_of(exported)))
    assert not Path("exploded").exists()
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with suppress(AssertionError):
        torch.export.load(bad)  # what is kept from happening
    assert Path("exploded").exists()


class Writer(Around):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, "exploded")
        return torch.relu(self.net(x))


class Mapper(Around):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.add(self.net(x), torch.from_file("exploded", True, 1))


@pytest.mark.parametrize("net", [Writer, Mapper])
def test_a_script_that_accesses_files_raises(
    net: type[Around], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"calls '(save|from_file)', which is not allowed"):
        encoder.extract(sound(8000), config_of(script(net(), tmp_path / "net.pt")))
    assert not Path("exploded").exists()


@pytest.mark.parametrize("kind", ["exported", "scripted"])
def test_a_truncated_or_corrupt_file_raises_a_clear_error(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    complete = request.getfixturevalue(kind)
    content = complete.read_bytes()
    rng, refused = np.random.default_rng(0), []
    for _ in range(30):
        wrong = bytearray(content)
        for at in rng.integers(len(wrong), size=40):
            wrong[at] = rng.integers(256)
        bad = tmp_path / complete.name
        bad.write_bytes(wrong[: rng.integers(1, len(wrong))] if rng.random() < 0.3 else wrong)
        try:  # it loads where only weights were changed
            exported_program.load_program(bad, "cpu")
        except exported_program.ProgramError as error:
            refused.append(str(error))
    assert len(refused) >= 5
    assert all(len(line.splitlines()) == 1 for line in refused)


def test_other_torchaudio_pipelines_are_accepted() -> None:
    pipelines.check_pipeline("HUBERT_LARGE", sample_rate=16_000, layer=24)
    pipelines.check_pipeline("WAVLM_BASE_PLUS", sample_rate=16_000, layer=None)


@pytest.mark.parametrize("make", [model_files.onnx, model_files.tflite])
def test_a_tflite_or_onnx_file_is_an_encoder(make: Callable[[Path], Path], tmp_path: Path) -> None:
    name = make.__name__
    pytest.importorskip({"onnx": "onnxruntime", "tflite": "ai_edge_litert"}[name])
    file, rate, n = make(tmp_path / f"net.{name}"), 1_000, model_files.N_SAMPLES
    values = {"path": str(file), "sample_rate": rate, "chunk_s": n / rate}
    waveform = sound(2 * n + 3)
    windows = np.stack([waveform[:n], waveform[n : 2 * n], waveform[-n:]])
    for layer, expected in (("doubled", 2 * windows), ("squared", (2 * windows) ** 2)):
        config = read_config(encoder.Config, {**values, "layer": layer}, where="here")
        np.testing.assert_allclose(encoder.extract(waveform, config), expected.T, rtol=1e-5)
        assert (config.n_bins, config.frame_rate_hz) == (n, rate / n)


class Centred(Around):
    """Frames without their mean, so that each depends on the whole input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        frames = self.net(x)
        return torch.sub(frames, torch.mean(frames, dim=1, keepdim=True))


def test_with_whole_windows_a_short_track_is_padded_for_an_encoder_of_any_length(
    tmp_path: Path,
) -> None:
    file, waveform = script(Centred(), tmp_path / "net.pt"), sound(3_200)
    n_chunk = round(CHUNK_S * RATE)
    padded = np.pad(waveform, (0, n_chunk - len(waveform)))
    for whole, given in ((False, waveform), (True, padded)):
        config = config_of(file, whole_windows=whole)
        expected = by_hand(Centred(), given)[:, :10]
        np.testing.assert_allclose(encoder.extract(waveform, config), expected, atol=1e-5)


def test_a_failing_encoder_is_described_once(tmp_path: Path) -> None:
    config = config_of(script(Net(), tmp_path / "net.pt"))
    with pytest.raises(UserError) as caught:
        running.run_encoder(config.source, np.zeros((1, 100), np.float32))  # shorter than a frame
    assert str(caught.value).count(str(tmp_path)) == 1
    assert str(caught.value).count(" on 100 samples") + str(caught.value).count(" for 100 s") == 1


def test_an_onnx_file_is_run_without_importing_pytorch(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    file = model_files.onnx(tmp_path / "net.onnx")
    code = (
        "import sys; import numpy as np\n"
        "from chorale.datasets.features import encoder\n"
        "config = encoder.Config(path=sys.argv[1], sample_rate=1000, chunk_s=0.008)\n"
        "assert encoder.extract(np.ones(20, np.float32), config).shape == (8, 3)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=True)
