"""Members of ensembles within a hard limit on the cost of their model."""

from dataclasses import asdict

import numpy as np

from chorale.search.evaluation.limited_members import (
    cost_of_members,
    limit_cautions,
    members_within,
)
from chorale.search.evaluation.members import Member
from chorale.search.ledger.ledger import Row
from chorale.search.training.model_cost import HEADROOM, ModelLimit, NetworkCost

NONE = np.zeros((0, 2), np.float32)


def _member(name: int | str, n_networks: int = 2) -> Member:
    return Member(name, NONE, NONE, NONE, test_by_network=(NONE,) * n_networks)


def _row(number: int, network_mb: float, features: str = "mel") -> Row:
    cost = NetworkCost(features, 5.0, 1.0, 0.0, network_mb)
    return Row(str(number), "COMPLETE", facts={"cost": asdict(cost)})


ROWS = {"0": _row(0, 1.0), "1": _row(1, 9.0), "2": _row(2, 2.0), "4": Row("4", "COMPLETE")}


def test_members_are_taken_in_their_order_as_far_as_they_fit_together() -> None:
    limit = ModelLimit(size_mb=7 / HEADROOM, n_networks=2)
    members = [_member(number) for number in (0, 1, 2)]
    assert [one.name for one in members_within(members, ROWS, limit)] == [0, 2]
    (line,) = limit_cautions(members, members_within(members, ROWS, limit))
    assert line.startswith("the limit leaves out finalists 1: with those")
    assert limit_cautions(members, members) == []
    small = ModelLimit(size_mb=5 / HEADROOM, n_networks=2)
    assert [one.name for one in members_within(members, ROWS, small)] == [0]
    assert [one.name for one in members_within(members[::-1], ROWS, small)] == [2]


def test_each_seed_of_a_member_counts() -> None:
    limit = ModelLimit(size_mb=7 / HEADROOM, n_networks=2)
    assert [m.name for m in members_within([_member(0, 8), _member(2)], ROWS, limit)] == [2]


def test_a_member_of_unknown_cost_is_left_out() -> None:
    limit = ModelLimit(size_mb=100, n_networks=2)
    members = [_member(4), _member("earlier/3"), _member(0)]
    assert [one.name for one in members_within(members, ROWS, limit)] == [0]


def test_the_latency_of_shared_features_counts_once() -> None:
    rows = ROWS | {"3": _row(3, 1.0, features="mfcc")}
    members = [_member(number) for number in (0, 2, 3)]
    assert cost_of_members([0, 2], members, rows) == {"latency_ms": 9.0, "size_mb": 6.0}
    assert cost_of_members([0, 3], members, rows) == {"latency_ms": 14.0, "size_mb": 4.0}
    limit = ModelLimit(latency_ms=9 / HEADROOM, n_networks=2)
    assert [one.name for one in members_within(members, rows, limit)] == [0, 2]
