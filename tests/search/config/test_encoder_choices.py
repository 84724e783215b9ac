"""Encoders by name become a feature set each, and those that are read together another one."""

from pathlib import Path
from typing import Any

import pytest

from chorale.datasets.errors import UserError
from chorale.search.config.encoder_choices import with_encoders
from chorale.search.config.resolve import ResolvedSweep, resolve_file
from chorale.search.config.space import ARCHITECTURE
from tests.search.encoders import add_encoder, ship_toy


@pytest.mark.parametrize("given", ["a", ["a"], "a,", {"name": "a"}, {"name": ["a", "a"]}])
def test_one_encoder_is_one_feature_set(given: Any) -> None:
    given = "a" if given == "a," else given
    assert with_encoders({"encoder": given, "mel": None}) == {
        "encoder-a": {"name": "a"},
        "mel": None,
    }


def test_several_encoders_are_also_joined_in_every_combination() -> None:
    found = with_encoders({"encoder": ["a", "b", "c"]})
    assert list(found) == [
        *("encoder-a", "encoder-b", "encoder-c"),
        *("joined-a+b", "joined-a+c", "joined-b+c", "joined-a+b+c"),
    ]
    assert found["joined-a+c"] == {"parts": {key: found[key] for key in ("encoder-a", "encoder-c")}}
    of_four = [name for name in with_encoders({"encoder": "a, b, c, d"}) if name[:6] == "joined"]
    assert len(of_four) == 6 + 1


def test_each_layer_is_a_feature_set_and_the_first_is_joined() -> None:
    found = with_encoders({"encoder": {"name": ["a", "b"], "layer": ["x", "y"], "pool": 2}})
    assert found["encoder-a"] == {"name": "a", "layer": "x", "pool": 2}
    assert found["encoder-b.y"] == {"name": "b", "layer": "y", "pool": 2}
    assert list(found["joined-a+b"]["parts"]) == ["encoder-a", "encoder-b"]


def test_an_encoder_by_its_file_stays_one_feature_set() -> None:
    given = {"encoder": {"path": "file.pt2"}}
    assert with_encoders(given) == given


def _resolved(folder: Path, features: Any) -> ResolvedSweep:
    file = folder / "sweep.yaml"
    file.write_text("dataset: {name: synthetic}\n")
    return resolve_file(str(file), {"features": features})


@pytest.fixture
def encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoders `low` (24 values) and `high` (16 values), added by a user."""
    monkeypatch.setenv("CHORALE_ENCODERS", str(tmp_path / "encoders"))
    add_encoder(tmp_path / "encoders", "low", n_bins=24)
    add_encoder(tmp_path / "encoders", "high", n_bins=16)


@pytest.mark.usefixtures("encoders")
def test_the_search_chooses_between_encoders_and_tries_each_first(tmp_path: Path) -> None:
    resolved = _resolved(tmp_path, {"encoder": ["low", "high"], "mel": None})
    names = ("encoder-high", "encoder-low", "joined-low+high")
    assert resolved.space.features["encoder_probe"] == names
    assert "encoder_probe" in resolved.space.architectures
    assert "cnn" in resolved.space.architectures
    points = resolved.space.defaults({"encoder_probe": 0.1})
    first = [point for point in points[:3] if point[ARCHITECTURE] == "encoder_probe"]
    assert {point["encoder_probe.features"] for point in first} == set(names)
    assert {point["train.crop_s"] for point in first} == {30.0}
    config = resolved.features["joined-low+high"]
    assert (config.n_bins, config.sample_rate) == (40, 8_000)


@pytest.mark.usefixtures("encoders")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("hihg", "unknown encoder 'hihg'; did you mean 'high'"),
        ({"name": "low", "layer": "inner"}, "low has the outputs output, but got layer=inner"),
        ({"name": "low", "sample_rate": 44_100}, "low needs sample_rate=8000, but got 44100"),
        ({"name": "low", "bundle": "HUBERT_BASE"}, "are two encoders; give one"),
        (5, "features.encoder"),
        ([], "should map keys to values or name encoders of `chorale encoder list`, but got"),
    ],
)
def test_what_an_encoder_does_not_have_is_one_line(
    given: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        _resolved(tmp_path, {"encoder": given})


@pytest.mark.usefixtures("encoders")
def test_an_encoder_that_is_missing_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        _resolved(tmp_path, {"encoder": ["low", "birdnet"]})
    assert len(str(caught.value).splitlines()) == 2, "what is wrong, and one problem"


@pytest.mark.usefixtures("encoders")
def test_views_are_of_each_encoder_and_not_in_its_config(tmp_path: Path) -> None:
    given = {"name": ["low", "high"], "views": 3}
    plain = _resolved(tmp_path, {"encoder": ["low", "high"], "mel": None})
    resolved = _resolved(tmp_path, {"encoder": given, "mel": None})
    names = ("encoder-low", "encoder-high", "joined-low+high")
    assert resolved.views == dict.fromkeys(names, 3)
    assert resolved.feature_values == plain.feature_values, "so the cache keys are the same"
    assert plain.views == {}


@pytest.mark.usefixtures("encoders")
def test_only_features_with_views_have_the_choice(tmp_path: Path) -> None:
    features = {
        "encoder-low": {"name": "low", "views": 2},
        "encoder-high": {"name": "high", "views": 1},
        "mel": None,
    }
    resolved = _resolved(tmp_path, features)
    assert resolved.views == {"encoder-low": 2}
    space = resolved.space
    chosen = {}
    for name in ("encoder-low", "encoder-high"):
        asked: list[str] = []
        values = {"architecture": "encoder_probe", "encoder_probe.features": name}

        def pick(parameter: str, distribution: Any, given: dict[str, str] = values) -> Any:
            asked.append(parameter)  # noqa: B023  called at once
            first = getattr(distribution, "choices", None)
            return given.get(parameter, first[0] if first else getattr(distribution, "low", None))

        candidate = space.candidate(pick)
        assert candidate.features == name
        chosen[name] = "train.views" in asked
    assert chosen == {"encoder-low": True, "encoder-high": False}
    assert "train.views" in space.names()
    assert "train.views" not in _resolved(tmp_path, {"encoder": "low", "mel": None}).space.names()


@pytest.mark.usefixtures("encoders")
@pytest.mark.parametrize(
    ("given", "more", "message"),
    [
        ({"name": "low", "views": 0}, {}, "encoder-low.views: should be a whole number from 1 to"),
        ({"name": "low", "views": True}, {}, "from 1 to 16, but got True"),
        ({"name": "low", "views": 17}, {}, "from 1 to 16, but got 17"),
        (
            "low",
            {"train": {"views": True}},
            "\n *train.views: no feature set has",
        ),
        ("low", {"space": {"train": {"views": True}}}, "space.train.views: no feature set has"),
        (
            {"name": "low", "views": 2},
            {"train": {"views": False}},
            "false leaves the views of encoder-low unused",
        ),
    ],
)
def test_contradictions_about_views_are_one_line(
    given: Any, more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("dataset: {name: synthetic}\n")
    with pytest.raises(UserError, match=message) as caught:
        resolve_file(str(file), {"features": {"encoder": given}, **more})
    assert len(str(caught.value).splitlines()) == 2


def test_other_feature_sets_have_no_views(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"features.mel.views: unknown key"):
        _resolved(tmp_path, {"mel": {"views": 3}})


@pytest.mark.usefixtures("encoders")
def test_joined_encoders_have_the_same_number_of_views(tmp_path: Path) -> None:
    parts = {"encoder-low": {"name": "low", "views": 2}, "encoder-high": {"name": "high"}}
    with pytest.raises(UserError, match="as many for each of its parts, but got encoder-low 2"):
        _resolved(tmp_path, {"joined-both": {"parts": parts}})


def test_fine_tuning_is_searched_beside_the_frozen_encoders() -> None:
    given = {"name": ["a", "b"], "layer": ["x", "y"], "pool": 2, "views": 3, "fine_tune": [1, 3]}
    found = with_encoders({"encoder": given})
    assert list(found) == [
        *("encoder-a", "encoder-a.y", "encoder-b", "encoder-b.y", "joined-a+b"),
        *("block_input-a.1", "block_input-a.3", "block_input-a.y.1", "block_input-a.y.3"),
        *("block_input-b.1", "block_input-b.3", "block_input-b.y.1", "block_input-b.y.3"),
    ]
    assert found["encoder-a"] == {"name": "a", "layer": "x", "pool": 2, "views": 3}
    assert found["block_input-a.y.3"] == {"name": "a", "layer": "y", "views": 3, "fine_tune": 3}


@pytest.mark.parametrize("given", [0, False, None, [], [0]])
def test_fine_tuning_can_be_switched_off(given: Any) -> None:
    found = with_encoders({"encoder": {"name": "a", "fine_tune": given}})
    assert found == {"encoder-a": {"name": "a"}}


@pytest.fixture
def toyblocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped encoder `toyblocks`, of which two blocks can be fine-tuned; its file."""
    return ship_toy(monkeypatch, tmp_path / "shipped")


@pytest.mark.usefixtures("toyblocks")
def test_the_search_fine_tunes_one_block_or_two_and_tries_each_first(tmp_path: Path) -> None:
    given = {"name": "toyblocks", "fine_tune": [1, 2], "views": 2}
    resolved = _resolved(tmp_path, {"encoder": given, "mel": None})
    names = ("block_input-toyblocks.1", "block_input-toyblocks.2")
    space = resolved.space
    assert space.features["encoder_blocks"] == names
    assert space.features["encoder_probe"] == ("encoder-toyblocks",)
    assert resolved.views == dict.fromkeys(("encoder-toyblocks", *names), 2)
    points = [point for point in space.defaults() if point[ARCHITECTURE] == "encoder_blocks"]
    assert {point["encoder_blocks.features"] for point in points} == set(names)
    asked: list[str] = []

    def pick(parameter: str, distribution: Any) -> Any:
        asked.append(parameter)
        values = {"architecture": "encoder_blocks", "encoder_blocks.features": names[1]}
        first = getattr(distribution, "choices", None)
        return values.get(parameter, first[0] if first else getattr(distribution, "low", None))

    candidate = space.candidate(pick)
    assert "encoder_blocks.lr_decay" in asked
    assert {"train.center", "train.crop_s"}.isdisjoint(asked)
    config = resolved.architecture_config(candidate)
    assert (config.encoder, config.layer, config.fine_tune) == ("toyblocks", "output", 2)
    assert config.digest == resolved.features[names[1]].digest != ""
    assert config.lr_decay == 0.3


@pytest.mark.usefixtures("toyblocks")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"name": "toyblocks", "fine_tune": 3},
            "toyblocks has 2 blocks before its output .* got fine_tune=3",
        ),
        ({"name": "toyblocks", "fine_tune": -1}, "greater than or equal to 1, but got -1"),
        ({"name": "toyblocks", "fine_tune": "many"}, "should be a whole number, but got 'many'"),
        ({"name": "birdnet", "fine_tune": 1}, "birdnet cannot be fine-tuned.*one of: .*musicnn"),
        ({"name": "panns_cnn14", "fine_tune": 1}, "'panns_cnn14' has not been fetched; type: ch"),
    ],
)
def test_what_cannot_be_fine_tuned_is_stated(given: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        _resolved(tmp_path, {"encoder": given})
    n_lines = 3 if given["name"] == "birdnet" else 2  # that one has not been fetched either
    assert len(str(caught.value).splitlines()) == n_lines


@pytest.mark.usefixtures("encoders")
@pytest.mark.parametrize("key", ["path", "bundle"])
def test_only_an_encoder_by_name_can_be_fine_tuned(key: str, tmp_path: Path) -> None:
    file = tmp_path / "encoders" / "low" / "encoder.pt2"
    given = {"path": str(file), "sample_rate": 8000, "fine_tune": 1}
    given |= {"bundle": "HUBERT_BASE"} if key == "bundle" else {}
    with pytest.raises(UserError, match="fine_tune: needs an encoder by its name") as caught:
        _resolved(tmp_path, {"encoder": given})
    assert "{name: musicnn, fine_tune: 1}" in str(caught.value)


@pytest.mark.usefixtures("encoders")
def test_an_added_encoder_cannot_be_fine_tuned(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="low cannot be fine-tuned") as caught:
        _resolved(tmp_path, {"encoder": {"name": "low", "fine_tune": 1}})
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.usefixtures("toyblocks")
def test_what_is_fine_tuned_is_not_joined(tmp_path: Path) -> None:
    parts = {
        "encoder-toyblocks": {"name": "toyblocks"},
        "block_input-toyblocks.1": {"name": "toyblocks"},
    }
    with pytest.raises(
        UserError, match=r"got 'block_input-toyblocks.1', whose encoder is fine-tun"
    ):
        _resolved(tmp_path, {"joined-both": {"parts": parts}})


@pytest.mark.usefixtures("encoders")
def test_an_architecture_without_its_blocks_says_what_to_type(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("dataset: {name: synthetic}\narchitectures: [encoder_blocks]\n")
    with pytest.raises(UserError, match=r"add --features.encoder '\{name: musicnn, fine_tune: 1"):
        resolve_file(str(file), {"features": {"encoder": "low"}})
