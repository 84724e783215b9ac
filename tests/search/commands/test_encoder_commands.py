import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from chorale.search.cli import main
from tests.datasets.pretrained import conftest as made_up
from tests.search.commands.test_mistakes import typed

ship, folder = made_up.ship, made_up.folder
packages, wheels = made_up.packages, made_up.wheels

Ship = Callable[..., None]
Output = pytest.CaptureFixture[str]


class Net(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(1, -1, 100)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    save: Any = torch.jit.script(Net()).save  # untyped
    save(str(tmp_path / "net.pt"))
    return tmp_path / "net.pt"


def listed(capsys: Output, name: str) -> Any:
    capsys.readouterr()
    assert main(["encoder", "list", "--json"]) == 0
    [found] = [one for one in json.loads(capsys.readouterr().out) if one["name"] == name]
    return found


def test_the_list_shows_what_to_type(ship: Ship, folder: Path, capsys: Output) -> None:
    ship(must_accept=True)
    assert main(["encoder", "list"]) == 0
    [row] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│ toy ")]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells[:6] == [
        "toy",
        "A toy [small]",
        "wide 4",
        "8,000",
        "0.5 s",
        "Toy licence, no sales",
    ]
    assert "chorale encoder fetch" in cells[6]


def test_the_list_marks_what_is_got_by_hand(
    ship: Ship, folder: Path, capsys: Output, tmp_path: Path
) -> None:
    ship(source='how_to_get="download toy.bin from https://toys.example",')
    assert main(["encoder", "list"]) == 0
    [row] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│ toy ")]
    assert row.strip("│").split("│")[6].strip().startswith("by hand: download toy.bin")
    (tmp_path / "given.bin").write_bytes(made_up.WEIGHTS)
    assert main(["encoder", "fetch", "toy", "--file", str(tmp_path / "given.bin")]) == 0
    assert "unverified" in capsys.readouterr().out
    after = listed(capsys, "toy")
    assert (after["fetched"], after["web_file"]) == (True, None)


def test_the_list_shows_what_can_be_fine_tuned(capsys: Output) -> None:
    assert main(["encoder", "list", "--json"]) == 0
    blocks = {one["name"]: one["blocks"] for one in json.loads(capsys.readouterr().out)}
    assert blocks["musicnn"] == {"pooled": 3, "penultimate": 4}
    assert blocks["birdnet"] == {}
    assert main(["encoder", "list"]) == 0
    assert "fine_tune up to 4" in " ".join(capsys.readouterr().out.split())


def test_the_list_as_json_has_the_address(ship: Ship, folder: Path, capsys: Output) -> None:
    url = "https://toys.example/toy.bin"
    ship(source=f"web_file=WebFile({url!r}, max_bytes=9),")
    found = listed(capsys, "toy")
    assert found["web_file"] == {"url": url, "max_bytes": 9, "checksum": ""}
    assert found["advice"] == "type: chorale encoder fetch toy"


def test_the_list_as_json_says_what_is_fetched(
    ship: Ship, folder: Path, packages: Path, capsys: Output
) -> None:
    ship()
    before = listed(capsys, "toy")
    assert (before["fetched"], before["advice"]) == (False, "type: chorale encoder fetch toy")
    assert main(["encoder", "fetch", "toy"]) == 0
    output = capsys.readouterr().out
    assert "downloading toyweights 1.0" in output
    assert "licence of the weights: Toy licence, no sales" in output
    after = listed(capsys, "toy")
    assert (after["fetched"], after["advice"]) == (True, "")
    assert Path(after["file"]).read_bytes() == made_up.WEIGHTS


def test_fetch_asks_for_the_licence(ship: Ship, folder: Path, wheels: Path, capsys: Output) -> None:
    ship(must_accept=True)
    assert main(["encoder", "fetch", "toy"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "Toy licence, no sales" in line
    assert line.endswith("type: chorale encoder fetch toy --accept")
    assert main(["encoder", "fetch", "toy", "--accept"]) == 0


def test_check_runs_every_layer(ship: Ship, folder: Path, wheels: Path, capsys: Output) -> None:
    ship()
    assert main(["encoder", "fetch", "toy"]) == 0
    capsys.readouterr()
    assert main(["encoder", "check", "toy"]) == 0
    output = capsys.readouterr().out
    assert "toy  wide: 1 frames of 4 values for 0.5 s of audio" in output
    assert "toy  narrow: 1 frames of 2 values" in output
    assert main(["encoder", "check", "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert (found["name"], found["problem"]) == ("toy", "")
    assert found["layers"]["wide"]["n_bins"] == 4
    assert found["layers"]["wide"]["memory_mib"] > 1
    assert found["layers"]["wide"]["seconds_per_minute"] >= 0


@pytest.mark.parametrize(
    ("options", "damage", "why"),
    [
        ({}, True, "is wanted; type: chorale encoder fetch toy"),
        ({"requires": ("no-such-package",)}, False, "type: pip install no-such-package"),
        ({"n_returned": 3}, False, "must return 4 values in a frame, but it returned 3"),
    ],
)
def test_check_finds_problems(
    ship: Ship,
    folder: Path,
    wheels: Path,
    capsys: Output,
    options: Any,
    damage: bool,
    why: str,
) -> None:
    ship(**options)
    assert main(["encoder", "fetch", "toy"]) == 0
    if damage:
        (folder / "toy" / "toy.bin").write_bytes(b"damaged")
    capsys.readouterr()
    assert main(["encoder", "check"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("chorale encoder check: encoder 'toy': ")
    assert why in line


def test_check_of_what_is_not_fetched(ship: Ship, folder: Path, capsys: Output) -> None:
    ship()
    assert main(["encoder", "check", "toy"]) == 1
    assert "has not been fetched; type: chorale encoder fetch toy" in capsys.readouterr().err
    assert main(["encoder", "check"]) == 1
    assert "no encoder has been fetched" in capsys.readouterr().err


def test_add_makes_an_encoder(folder: Path, network: Path, capsys: Output) -> None:
    args = f"encoder add mine --file {network} --sample-rate 8000 --window-s 0.5 --licence CC0"
    assert main(args.split()) == 0
    assert capsys.readouterr().out == "mine is added: output of 100 values, 8,000 Hz\n"
    found = listed(capsys, "mine")
    assert found["layers"] == {"output": 100}
    assert (found["weights_licence"], found["window_s"], found["fetched"]) == ("CC0", 0.5, True)
    assert main(["encoder", "check", "mine"]) == 0


def test_a_damaged_encoder_does_not_hide_the_others(
    ship: Ship, folder: Path, capsys: Output
) -> None:
    ship()
    (folder / "mine").mkdir(parents=True)
    (folder / "mine" / "encoder.json").write_text("{")
    assert main(["encoder", "list"]) == 1
    output = capsys.readouterr()
    assert "│ toy " in output.out
    assert len(output.err.splitlines()) == 1


MISTAKES = [
    ("list --all", "unknown option '--all'", 2),
    ("fetch", "expected the name of an encoder; type: chorale encoder fetch NAME", 2),
    ("fetch musicn", "unknown encoder 'musicn'; did you mean 'musicnn'", 1),
    ("fetch musicnn --acept", "unknown option '--acept'; did you mean '--accept'", 2),
    ("check musicn", "unknown encoder 'musicn'; did you mean 'musicnn'", 1),
    ("check a b", "expected the name of one encoder, but got a b", 2),
    ("add", "expected the name of an encoder; type: chorale encoder add NAME --file FILE", 2),
    ("add mine --file x.pt", "--sample-rate is missing", 2),
    (
        "add mine --file x.pt --sample-rate fast",
        "should be a whole number of 1 or more, but got 'fast'",
        2,
    ),
    (
        "add mine --file x.pt --sample-rate 0.5",
        "should be a whole number of 1 or more, but got '0.5'",
        2,
    ),
    (
        "add mine --file x.pt --sample-rate 8000 --window-s 0",
        "--window-s should be a number above 0",
        2,
    ),
    ("add mine --file x.pt --sample-rate 8000", "there is no file 'x.pt'", 1),
    ("add musicnn --file x.pt --sample-rate 8000", "is an encoder that Chorale ships", 1),
]


def test_mistakes_are_one_line_and_import_nothing_heavy(folder: Path, tmp_path: Path) -> None:
    found = typed(tmp_path, *(["encoder", *line.split()] for line, _, _ in MISTAKES))
    for (line, why, expected), (code, error) in zip(MISTAKES, found, strict=True):
        assert code == expected, line
        assert why in error
        assert len(error.splitlines()) == 1
