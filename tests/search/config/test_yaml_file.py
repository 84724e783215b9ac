from pathlib import Path

import pytest

from chorale.datasets.errors import UserError
from chorale.search.config import yaml_file


def test_numbers_in_scientific_notation_are_floats(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("lr: 1e-4\nversion: 1.2.3\nhost: 1e\n")
    assert yaml_file.read_yaml(path) == {"lr": 1e-4, "version": "1.2.3", "host": "1e"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", "line 1"),
        ("- a\n- b", "should hold `key: value` lines"),
        ("a: !!python/object:os.system x", "not YAML"),
    ],
)
def test_an_invalid_sweep_file_is_reported_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        yaml_file.read_yaml(path)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"RIFF\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        yaml_file.read_yaml(path)


def test_the_error_for_a_missing_file_suggests_the_nearest_shipped_sweep() -> None:
    with pytest.raises(UserError, match="did you mean 'demo'"):
        yaml_file.find_sweep_file("dmeo.yaml")


def test_a_shipped_sweep_is_found_by_its_name() -> None:
    assert yaml_file.find_sweep_file("demo") == yaml_file.SHIPPED_SWEEPS / "demo.yaml"


def test_overrides_read_values_as_yaml() -> None:
    arguments = [
        "--budget.trials",
        "8",
        "--name=mine",
        "--split.test_groups",
        "[a, b]",
        "--x",
        "-1",
    ]
    assert yaml_file.parse_overrides(arguments) == {
        "budget.trials": 8,
        "name": "mine",
        "split.test_groups": ["a", "b"],
        "x": -1,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["budget"], "expected --key value"),
        (["--budget.trials"], "needs a value"),
        (["--budget.trials", "--name", "x"], "--budget.trials needs a value"),
    ],
)
def test_invalid_overrides_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        yaml_file.parse_overrides(arguments)


def test_merge_sets_nested_keys_and_does_not_change_the_original() -> None:
    values = {"budget": {"trials": 4, "max_epochs": 2}}
    merged = yaml_file.merge_overrides(values, {"budget.trials": 8, "features.mel.n_mels": 40})
    assert merged == {
        "budget": {"trials": 8, "max_epochs": 2},
        "features": {"mel": {"n_mels": 40}},
    }
    assert values["budget"]["trials"] == 4


def test_merge_refuses_a_key_below_a_plain_value() -> None:
    with pytest.raises(UserError, match="'name' is 'x', which has no keys"):
        yaml_file.merge_overrides({"name": "x"}, {"name.sub": 1})
