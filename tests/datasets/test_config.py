from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from chorale.datasets.config import NameList, config, read_config, to_plain_values
from chorale.datasets.errors import UserError, unknown_name_error


@config
class Budget:
    trials: Annotated[int, Field(ge=1)] = 8


@config
class Sweep:
    name: str
    budget: Budget = Budget()


def test_all_problems_are_listed_in_one_error_with_the_nearest_key() -> None:
    with pytest.raises(UserError) as caught:
        read_config(Sweep, {"budget": {"trials": 0, "trails": 3}, "nmae": "x"}, where="my.yaml")
    text = str(caught.value)
    assert text.startswith("my.yaml: 4 problems")
    assert "budget.trials: should be greater than or equal to 1, but got 0" in text
    assert "budget.trails: unknown key; did you mean 'trials'? allowed here: trials" in text
    assert "nmae: unknown key; did you mean 'name'?" in text
    assert "name: is missing" in text


@config
class Optional:
    budget: Annotated[Budget | None, Field()] = None


def test_the_keys_of_a_mapping_that_may_be_left_out_are_listed_too() -> None:
    with pytest.raises(UserError, match=r"did you mean 'trials'\? allowed here: trials"):
        read_config(Optional, {"budget": {"trails": 3}}, where="my.yaml")


@config
class Lists:
    names: NameList = ()
    groups: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("given", "names"),
    [("cnn", ("cnn",)), ("cnn, mlp,", ("cnn", "mlp")), (["a,b"], ("a,b",)), ("", ()), ((), ())],
)
def test_names_may_be_separated_by_commas(given: object, names: tuple[str, ...]) -> None:
    assert read_config(Lists, {"names": given}, where="here").names == names


@pytest.mark.parametrize(
    ("cls", "values", "problem"),
    [
        (Lists, {"groups": "a"}, "groups: should be a list, but got 'a'; type --groups '[a]'"),
        (Lists, {"groups": 3}, "groups: should be a list, but got 3"),
        (Lists, {"names": [1]}, "names.0: should be text, but got 1"),
        (Sweep, {"name": "x", "budget": {"trials": "x"}}, "should be a whole number, but got 'x'"),
        (Sweep, {"name": "x", "budget": {"trials": 1.5}}, "should be a whole number, but got 1.5"),
        (Sweep, {"name": "x", "budget": "big"}, "budget: should map keys to values, but got 'big'"),
    ],
)
def test_what_a_value_should_be_is_in_plain_words(
    cls: type[Any], values: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UserError) as caught:
        read_config(cls, values, where="my.yaml")
    assert problem in str(caught.value)


def test_plain_values_round_trip_to_the_same_config() -> None:
    made = Sweep("x", Budget(3))
    assert read_config(Sweep, to_plain_values(made), where="here") == made


def test_bounds_are_checked_on_construction_in_code() -> None:
    with pytest.raises(ValidationError):
        Budget(trials=0)


def test_an_unknown_name_error_suggests_the_nearest() -> None:
    error = unknown_name_error("architecture", "crn", ["cnn", "crnn", "recurrent"])
    assert (
        str(error)
        == "unknown architecture 'crn'; did you mean 'crnn'? choose from: cnn, crnn, recurrent"
    )
