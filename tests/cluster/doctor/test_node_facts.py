import ast
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from chorale.cluster.doctor import node_facts
from chorale.cluster.doctor.node_facts import look, shared_file


def test_a_machine_says_what_it_has() -> None:
    facts = look(["numpy", "chorale-audio", "no-such-thing"], "", "")
    assert facts.versions["numpy"]
    assert facts.versions["chorale-audio"]
    assert facts.versions["no-such-thing"] is None
    assert facts.memory_free > 0
    assert facts.disk_free > 0
    assert facts.began_s <= facts.ended_s
    assert facts.torch == {}


def test_a_shared_folder_is_read_and_written_and_left_as_it_was(tmp_path: Path) -> None:
    with shared_file(str(tmp_path), "abc") as error:
        assert error == ""
        assert look([], str(tmp_path), "abc").storage_error == ""
        other = tmp_path / "other"
        assert look([], str(other), "abc").storage_error == "is missing"
        other.mkdir()
        said = look([], str(other), "abc").storage_error
        assert said == "is not the driver's"
        other.rmdir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_said_to_be_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with shared_file(str(tmp_path), "abc") as error:
        assert "cannot be written: Permission denied" in error


def test_it_runs_on_a_machine_without_chorale(tmp_path: Path) -> None:
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(node_facts)
    try:
        sent = cloudpickle.dumps(look)
    finally:
        cloudpickle.unregister_pickle_by_value(node_facts)
    (tmp_path / "sent").write_bytes(sent)
    code = (
        "import pickle, sys; sys.modules['cluster'] = None; "
        "look = pickle.load(open('sent', 'rb')); "
        "pickle.dump(vars(look(['chorale'], '', '')), open('said', 'wb'))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    said = pickle.loads((tmp_path / "said").read_bytes())
    assert said["host"]


@pytest.mark.slow
def test_libraries_are_imported_for_a_try_each_by_itself() -> None:
    said = look([], "", "", modules=["torch", "torchaudio", "soxr"]).torch
    assert said["broken"] == {}
    assert isinstance(said["gpus"], list)


def test_a_library_that_fails_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "damaged.py").write_text("raise OSError('undefined symbol: aoti_x')")
    code = (
        "from chorale.cluster.doctor.node_facts import look; "
        "print(look([], '', '', modules=['damaged', 'json', 'nowhere']).torch['broken'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip
    assert ast.literal_eval(done.stdout) == {
        "damaged": ["OSError", "undefined symbol: aoti_x"],
        "nowhere": ["ModuleNotFoundError", "No module named 'nowhere'"],
    }
