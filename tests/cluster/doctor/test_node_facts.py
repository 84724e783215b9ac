import ast
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from chorale.cluster.doctor import node_facts
from chorale.cluster.doctor.node_facts import collect_facts, marker_file


def test_facts_hold_versions_memory_and_disk() -> None:
    facts = collect_facts(["numpy", "chorale-audio", "no-such-thing"], "", "")
    assert facts.versions["numpy"]
    assert facts.versions["chorale-audio"]
    assert facts.versions["no-such-thing"] is None
    assert facts.memory_free > 0
    assert facts.disk_free > 0
    assert facts.began_s <= facts.ended_s
    assert facts.torch == {}


def test_the_storage_check_reads_and_writes_the_folder_and_leaves_no_file(tmp_path: Path) -> None:
    with marker_file(str(tmp_path), "abc") as error:
        assert error == ""
        assert collect_facts([], str(tmp_path), "abc").storage_error == ""
        other = tmp_path / "other"
        assert collect_facts([], str(other), "abc").storage_error == "is missing"
        other.mkdir()
        assert collect_facts([], str(other), "abc").storage_error == "is not the driver's"
        other.rmdir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with marker_file(str(tmp_path), "abc") as error:
        assert "cannot be written: Permission denied" in error


def test_facts_are_collected_on_a_machine_without_chorale(tmp_path: Path) -> None:
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(node_facts)
    try:
        sent = cloudpickle.dumps(collect_facts)
    finally:
        cloudpickle.unregister_pickle_by_value(node_facts)
    (tmp_path / "sent").write_bytes(sent)
    code = (
        "import pickle, sys; sys.modules['cluster'] = None; "
        "collect_facts = pickle.load(open('sent', 'rb')); "
        "pickle.dump(vars(collect_facts(['chorale'], '', '')), open('facts', 'wb'))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    facts = pickle.loads((tmp_path / "facts").read_bytes())
    assert facts["host"]


NO_GPU = """
class version: cuda = None
class cuda: device_count = staticmethod(lambda: 0)
"""


def test_a_broken_library_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "damaged.py").write_text("raise OSError('undefined symbol: aoti_x')")
    (tmp_path / "torch.py").write_text(NO_GPU)  # the real one takes seconds to import
    code = (
        "from chorale.cluster.doctor.node_facts import collect_facts; "
        "print(collect_facts([], '', '', modules=['damaged', 'json', 'nowhere']).torch)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip
    found = ast.literal_eval(done.stdout)
    assert found["gpus"] == []
    assert found["broken"] == {
        "damaged": ["OSError", "undefined symbol: aoti_x"],
        "nowhere": ["ModuleNotFoundError", "No module named 'nowhere'"],
    }
