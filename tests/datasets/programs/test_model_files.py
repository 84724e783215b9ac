"""What is known of a tflite or ONNX file before a runtime reads it."""

import struct
from pathlib import Path
from typing import Any

import pytest

from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.guarded_program import check_model_file
from chorale.datasets.programs.onnx_file import check_onnx
from chorale.datasets.programs.tflite_file import check_tflite, with_output
from tests.datasets.programs import model_files


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@pytest.mark.parametrize("content", [b"", b"x", b"\x08", bytes(100), b"PK\x03\x04" + b"a" * 99])
def test_what_is_no_such_file_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    file = tmp_path / f"model{suffix}"
    file.write_bytes(content)
    with pytest.raises(ProgramError, match=r"is no (ONNX|tflite) file|cannot be read|damaged"):
        check_model_file(file)


def test_a_missing_file_and_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="cannot be read"):
        check_model_file(tmp_path / "missing.onnx")
    with pytest.raises(ProgramError, match=r"ends with none of .tflite, .onnx"):
        check_model_file(tmp_path / "model.h5")


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_a_damaged_file_is_refused_or_accepted_but_fails_in_no_other_way(
    tmp_path: Path, kind: str
) -> None:
    file = getattr(model_files, kind)(tmp_path / f"model.{kind}")
    check_model_file(file)
    content = file.read_bytes()
    refusals = []
    for at in range(len(content)):
        for damaged in (content[:at], content[:at] + b"\xff" + content[at + 1 :]):
            file.write_bytes(damaged)
            try:
                check_model_file(file)
                if kind == "tflite":
                    with_output(damaged, "doubled")
            except ProgramError as error:
                refusals.append(str(error))
    assert len(refusals) > len(content)
    assert not [text for text in refusals if "\n" in text]


def test_custom_operators_of_tflite_are_refused(tmp_path: Path) -> None:
    file = model_files.tflite(tmp_path / "model.tflite", custom="FlexErf")
    with pytest.raises(ProgramError, match="custom operator 'FlexErf'"):
        check_tflite(file)


def test_the_output_of_a_tflite_file_is_changed(tmp_path: Path) -> None:
    content = model_files.tflite(tmp_path / "model.tflite").read_bytes()
    assert with_output(content, "squared") == with_output(content, 2) == content
    changed = with_output(content, "doubled")
    different = [at for at in range(len(content)) if changed[at] != content[at]]
    assert len(different) == 1
    for wrong in ("x", 0, 3, -1, ""):  # no operator computes the input
        with pytest.raises(ProgramError, match=r"computes no tensors .*: doubled, squared"):
            with_output(content, wrong)


def test_custom_operators_of_onnx_are_refused(tmp_path: Path) -> None:
    helper = pytest.importorskip("onnx").helper
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="my.own")
    opsets = [helper.make_opsetid("my.own", 1)]
    file = tmp_path / "model.onnx"
    file.write_bytes(model_files.onnx_graph([node], ["y"], opsets=opsets).SerializeToString())
    with pytest.raises(ProgramError, match=r"custom operator 'my\.own\.Frobnicate'"):
        check_onnx(file)
    body = helper.make_function(
        "my.own",
        "Frobnicate",
        ["a"],
        ["b"],
        [helper.make_node("Neg", ["a"], ["b"])],
        [helper.make_opsetid("", 18)],
    )
    model = model_files.onnx_graph([node], ["y"], opsets=opsets, functions=[body])
    file.write_bytes(model.SerializeToString())
    check_onnx(file)  # which defines it


def test_custom_operators_in_an_inner_graph_are_refused(tmp_path: Path) -> None:
    file = model_files.endless_onnx(tmp_path / "model.onnx")
    onnx = pytest.importorskip("onnx")
    model = onnx.load(file)
    model.graph.node[0].attribute[0].g.node[0].domain = "my.own"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ProgramError, match=r"custom operator 'my\.own\.Identity'"):
        check_onnx(file)


def _weights(where: str, package: Any) -> Any:
    helper = package.helper
    tensor = helper.make_tensor("secret", package.TensorProto.FLOAT, [1], struct.pack("f", 1), True)
    package.external_data_helper.set_external_data(tensor, "../../etc/passwd")
    tensor.data_location = package.TensorProto.EXTERNAL
    add = helper.make_node("Add", ["x", "secret"], ["y"])
    if where == "weights":
        return model_files.onnx_graph([add], ["y"], weights=[tensor])
    constant = helper.make_node("Constant", [], ["secret"], value=tensor)
    return model_files.onnx_graph([constant, add], ["y"])


@pytest.mark.parametrize("where", ["weights", "constant"])
def test_weights_in_another_file_are_refused(tmp_path: Path, where: str) -> None:
    package = pytest.importorskip("onnx")
    pytest.importorskip("onnx.external_data_helper")
    file = tmp_path / "model.onnx"
    file.write_bytes(_weights(where, package).SerializeToString())
    with pytest.raises(ProgramError, match="keeps the weights 'secret' in another file"):
        check_onnx(file)


def test_a_network_with_two_inputs_is_refused(tmp_path: Path) -> None:
    package = pytest.importorskip("onnx")
    helper = package.helper
    model = model_files.onnx_graph([helper.make_node("Add", ["x", "z"], ["y"])], ["y"])
    other = helper.make_tensor_value_info("z", package.TensorProto.FLOAT, [1])
    model.graph.input.append(other)
    file = tmp_path / "model.onnx"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ProgramError, match="takes 2 tensors"):
        check_onnx(file)
    model.graph.initializer.append(helper.make_tensor("z", package.TensorProto.FLOAT, [1], [1.0]))
    file.write_bytes(model.SerializeToString())
    check_onnx(file)  # weights may be listed as inputs
