from pathlib import Path

import pytest

from chorale.datasets.errors import UserError
from chorale.search.config import yaml_file


def test_small_numbers_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("lr: 1e-4\nversion: 1.2.3\nhost: 1e\n")
    assert yaml_file.read_yaml(path) == {"lr": 1e-4, "version": "1.2.3", "host": "1e"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1, 2", "line 1"),
        ("- a\n- b", "should hold `key: value` lines"),
        ("a: !!python/object:os.system x", "not YAML"),
    ],
)
def test_a_file_that_is_no_sweep_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        yaml_file.read_yaml(path)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"RIFF\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        yaml_file.read_yaml(path)


def test_a_missing_file_is_answered_with_the_nearest_shipped_sweep() -> None:
    with pytest.raises(UserError, match="did you mean 'demo'"):
        yaml_file.find("dmeo.yaml")


def test_a_shipped_sweep_is_found_by_its_name() -> None:
    assert yaml_file.find("demo") == yaml_file.SHIPPED / "demo.yaml"


def test_overrides_read_values_as_yaml() -> None:
    words = ["--budget.trials", "8", "--name=mine", "--split.test_groups", "[a, b]", "--x", "-1"]
    assert yaml_file.overrides(words) == {
        "budget.trials": 8,
        "name": "mine",
        "split.test_groups": ["a", "b"],
        "x": -1,
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["budget"], "expected --key value"),
        (["--budget.trials"], "needs a value"),
        (["--budget.trials", "--name", "x"], "--budget.trials needs a value"),
    ],
)
def test_overrides_refuse_what_they_cannot_read(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        yaml_file.overrides(words)


def test_merge_sets_nested_keys_and_leaves_the_original_alone() -> None:
    values = {"budget": {"trials": 4, "max_epochs": 2}}
    merged = yaml_file.merge(values, {"budget.trials": 8, "features.mel.n_mels": 40})
    assert merged == {
        "budget": {"trials": 8, "max_epochs": 2},
        "features": {"mel": {"n_mels": 40}},
    }
    assert values["budget"]["trials"] == 4


def test_merge_refuses_a_key_below_a_plain_value() -> None:
    with pytest.raises(UserError, match="'name' is 'x', which has no keys"):
        yaml_file.merge({"name": "x"}, {"name.sub": 1})
