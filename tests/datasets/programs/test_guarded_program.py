import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chorale.datasets.programs import guarded_program
from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.guarded_program import (
    GuardedProgram,
    ModelFile,
    check_model_file,
    load_model_file,
)
from tests.datasets.programs import model_files

WINDOWS = np.arange(-8, 8, dtype=np.float32).reshape(2, 8)

FILES: dict[str, Callable[[Path], Path]] = {
    ".tflite": model_files.tflite,
    ".onnx": model_files.onnx,
}
PACKAGES = {".tflite": "ai_edge_litert", ".onnx": "onnxruntime"}


@pytest.fixture(params=sorted(FILES))
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of each kind that doubles a window, then squares that."""
    pytest.importorskip(PACKAGES[request.param])
    return FILES[request.param](tmp_path / f"model{request.param}")


def test_an_inner_tensor_or_an_output_is_chosen_by_name_or_index(file: Path) -> None:
    check_model_file(file)
    first = WINDOWS * 2 if file.suffix == ".onnx" else (WINDOWS * 2) ** 2
    outputs: dict[str | int | None, np.ndarray] = {
        None: first,
        "doubled": WINDOWS * 2,
        "squared": (WINDOWS * 2) ** 2,
    }
    outputs |= {1: (WINDOWS * 2) ** 2 if file.suffix == ".onnx" else WINDOWS * 2}
    for output, expected in outputs.items():
        encode = load_model_file(file, output=output)
        np.testing.assert_allclose(encode(WINDOWS), expected[:, None], rtol=1e-6)
        np.testing.assert_array_equal(encode(WINDOWS[:1]), encode(WINDOWS)[:1])


def test_what_is_unsuitable_is_one_line(file: Path) -> None:
    with pytest.raises(ProgramError, match="missing"):
        load_model_file(file, output="missing")
    with pytest.raises(ProgramError, match="99"):
        load_model_file(file, output=99)
    program = GuardedProgram([ModelFile(file)])
    pid = program.pid
    with pytest.raises(ProgramError, match=r"takes \(1, (8|n)\) values, but got \(2, 3, 4\)"):
        program.run(0, np.zeros((2, 3, 4), np.float32))
    with pytest.raises(ProgramError, match="not finite"):
        program.run(0, np.full((1, 8), 3e38, np.float32))
    with pytest.raises(ProgramError, match="at most 16777216 samples at a time"):
        program.run(0, np.zeros((1, 2**24 + 1), np.float32))
    assert program.run(0, WINDOWS[:1]).shape == (1, 8)
    assert program.pid == pid  # which no refusal ends


def test_two_files_run_in_one_process(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    files = [
        ModelFile(model_files.tflite(tmp_path / "a.tflite"), "doubled"),
        ModelFile(model_files.onnx(tmp_path / "b.onnx"), "squared"),
    ]
    program = GuardedProgram(files)
    assert program.shapes == ((1, 8), (1, None))
    np.testing.assert_array_equal(program.run(0, WINDOWS[:1]), WINDOWS[:1] * 2)
    np.testing.assert_array_equal(program.run(1, WINDOWS[:1]), WINDOWS[:1] ** 2 * 4)


def test_a_process_that_ended_is_replaced(file: Path) -> None:
    program = GuardedProgram([ModelFile(file)])
    ended = program.pid
    assert ended is not None
    os.kill(ended, 9)
    expected = program.run(0, WINDOWS[:1]) if program.pid is None else None
    while expected is None:  # it takes a moment to end
        with pytest.raises(ProgramError, match="SIGKILL"):
            program.run(0, WINDOWS[:1])
        expected = program.run(0, WINDOWS[:1])
    assert expected.shape == (1, 8)
    assert program.pid not in (None, ended)


def test_a_forked_process_starts_its_own(file: Path) -> None:
    program = GuardedProgram([ModelFile(file)])
    expected = program.run(0, WINDOWS[:1])
    ours = program.pid
    child = os.fork()
    if not child:
        code = 1
        try:
            same = np.array_equal(program.run(0, WINDOWS[:1]), expected)
            code = 0 if same and program.pid not in (None, ours) else 2
            del program
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(program.run(0, WINDOWS[:1]), expected)
    assert program.pid == ours


def test_the_process_ends_with_the_program_and_with_its_caller(file: Path) -> None:
    program = GuardedProgram([ModelFile(file)])
    pid = program.pid
    assert pid is not None
    del program
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    orphan = GuardedProgram([ModelFile(file)])._process
    program = GuardedProgram([ModelFile(file)])
    process = program._process
    assert process is not None
    assert orphan is not None
    process.forget()  # closes the socket, as the end of the caller does
    assert process._process.wait(20) == 0


def test_an_endless_network_is_ended(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    file = model_files.endless_onnx(tmp_path / "endless.onnx")
    check_model_file(file)
    job = "from chorale.datasets.programs import model_child; model_child.RUN_CPU_S = 0.5"
    program = GuardedProgram([ModelFile(file)], program=_program(tmp_path, job))
    with pytest.raises(ProgramError, match="a window takes it more than 30 s of processor time"):
        program.run(0, WINDOWS[:1])
    assert program.pid is None


def test_a_network_that_takes_too_much_memory_is_one_error(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    file = model_files.hungry_onnx(tmp_path / "hungry.onnx", 2**28)
    program = GuardedProgram([ModelFile(file)])
    with pytest.raises(ProgramError, match="takes more than 384 MB of memory"):
        program.run(0, np.ones((1, 1), np.float32))
    small = model_files.hungry_onnx(tmp_path / "small.onnx", 2**20)
    assert load_model_file(small)(np.ones((1, 1), np.float32)).shape == (1, 1, 2**20)


@pytest.mark.parametrize(
    ("job", "detail"),
    [
        ("os.abort()", r"crashed the process that runs it \(SIGABRT\)"),
        ("os.kill(os.getpid(), 11)", r"crashed the process that runs it \(SIGSEGV\)"),
        ("os._exit(7)", r"crashed the process that runs it \(7\)"),
        ("bytearray(2**30)", "takes more than 384 MB of memory"),
        ("time.sleep(60)", "sent nothing for 4 s"),
        ("open('/dev/null')", r"crashed the process that runs it \(1\)"),
        ("import socket; socket.socket()", r"crashed the process that runs it \(1\)"),
        ("return np.zeros((3, 3), np.float32)", r"must return .* returned \(3, 3\)"),
        ("return np.zeros((1, 2**25), np.float32)", "returns 33554432 values"),
    ],
)
def test_what_a_hostile_file_does_is_one_error(tmp_path: Path, job: str, detail: str) -> None:
    pytest.importorskip("onnxruntime")
    patch = f"""
    import os, time
    import numpy as np
    from chorale.datasets.programs import runtimes

    before = runtimes.OnnxModel.run

    def run(self, array):
        if array.shape == (1, 4):  # the trivial network
            return before(self, array)
        {job}

    runtimes.OnnxModel.run = run
    """
    file = model_files.onnx(tmp_path / "model.onnx")
    program = GuardedProgram([ModelFile(file)], program=_program(tmp_path, patch), wait_s=4)
    with pytest.raises(ProgramError, match=detail) as caught:
        guarded_program._frames(program.run(0, WINDOWS[:1]))
    assert "\n" not in str(caught.value)


def test_a_runtime_that_is_missing_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = model_files.onnx(tmp_path / "model.onnx")
    broken = _program(tmp_path, "import sys; sys.modules['onnxruntime'] = None")
    with pytest.raises(ProgramError, match=r"needs onnxruntime .*-m pip install"):
        GuardedProgram([ModelFile(file)], program=broken)
    monkeypatch.setattr(guarded_program, "find_spec", lambda name: None)
    with pytest.raises(ProgramError, match=r"needs onnxruntime .*-m pip install"):
        load_model_file(file)


def test_a_program_that_does_not_start_is_one_line(tmp_path: Path) -> None:
    file = model_files.onnx(tmp_path / "model.onnx")
    with pytest.raises(ProgramError, match=r"does not start \(3\)"):
        GuardedProgram([ModelFile(file)], program=_program(tmp_path, "import os; os._exit(3)"))


def test_several_threads_share_a_process(file: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    program = GuardedProgram([ModelFile(file)])
    inputs = [np.full((1, 8), value, np.float32) for value in range(40)]
    expected = [program.run(0, array) for array in inputs]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(
            pool.map(lambda a: program.run(0, a), inputs), expected, strict=True
        ):
            np.testing.assert_array_equal(found, wanted)


def _program(tmp_path: Path, patch: str) -> list[str]:
    """The program of the process, changed beforehand."""
    path = tmp_path / "program.py"
    start = """
    import sys
    from chorale.datasets.programs.model_child import main
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    """
    path.write_text(textwrap.dedent(patch) + textwrap.dedent(start))
    return [str(path)]


def test_onnxruntime_keeps_no_record_of_its_use(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    program = GuardedProgram([ModelFile(model_files.onnx(tmp_path / "model.onnx"))])
    descriptors = Path(f"/proc/{program.pid}/fd")
    if not descriptors.is_dir():
        pytest.skip("this system does not list the open files of a process")
    files = {str(each.readlink()) for each in descriptors.iterdir()}
    assert not [name for name in files if name.startswith("/") and name != "/dev/null"]
