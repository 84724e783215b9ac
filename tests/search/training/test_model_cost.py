"""The cost of a model as the sum of its parts, and hard limits on it."""

import math

import pytest

from chorale.search.config.limit_config import LimitConfig
from chorale.search.config.schema import FinalistsConfig, SweepConfig
from chorale.search.training.model_cost import HEADROOM, ModelLimit, NetworkCost, model_cost

SMALL = NetworkCost("mel", features_ms=10.0, network_ms=2.0, features_mb=0.0, network_mb=0.5)
LARGE = NetworkCost("mel", features_ms=10.0, network_ms=8.0, features_mb=0.0, network_mb=4.0)
ENCODER = NetworkCost("encoder", features_ms=30.0, network_ms=0.1, features_mb=50, network_mb=0.1)


def test_networks_count_each_and_their_features_once() -> None:
    assert model_cost([(SMALL, 5)]) == (20.0, 2.5)
    assert model_cost([(SMALL, 5), (LARGE, 5)]) == (60.0, 22.5)
    ms, mb = model_cost([(SMALL, 5), (ENCODER, 2), (ENCODER, 1)])
    assert ms == pytest.approx(20 + 30.3)
    assert mb == pytest.approx(2.5 + 50.3)
    assert model_cost([]) == (0, 0)


def test_a_limit_applies_to_all_networks_of_one_member() -> None:
    limit = ModelLimit(latency_ms=25, size_mb=10, n_networks=5)
    assert limit.refusal(SMALL) is None
    refusal = limit.refusal(LARGE)
    assert refusal is not None
    assert refusal.reason.startswith(
        "over the limit: 5 networks on mel would take 50 ms where 25 are allowed and 20 MB where "
        "10 are allowed"
    )
    assert NetworkCost.of_facts(refusal.facts()) == LARGE
    assert ModelLimit(latency_ms=25, n_networks=1).refusal(LARGE) is None
    assert ModelLimit(size_mb=60, n_networks=1).refusal(ENCODER) is None


def test_excesses_are_logarithms_of_the_ratio_and_positive_above_the_limit() -> None:
    limit = ModelLimit(latency_ms=20 / HEADROOM, n_networks=5)
    assert limit.excesses(SMALL) == {"latency_ms": pytest.approx(0.0)}
    assert limit.excesses(LARGE) == {"latency_ms": pytest.approx(math.log(2.5))}
    assert limit.allows([(SMALL, 4)])
    assert not limit.allows([(SMALL, 5), (LARGE, 1)])


def test_a_sweep_without_a_limit_has_none() -> None:
    assert ModelLimit.of(SweepConfig({"name": "folder"}), 5) is None
    limited = SweepConfig({}, limit=LimitConfig(size_mb=3), finalists=FinalistsConfig(seeds=2))
    assert ModelLimit.of(limited, 5) == ModelLimit(None, 3, 10)
