"""Streams of random numbers: one for each purpose and key, and none of them twice."""

import ast
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from chorale.datasets.seeds import Purpose, generator, seed_of, sequence

ROOT = Path(__file__).parents[2]

NUMBERS = (0, 1, 2, 5)
KEYS = [key for length in range(4) for key in product(NUMBERS, repeat=length)]


def state(stream: np.random.SeedSequence) -> bytes:
    return stream.generate_state(4).tobytes()


def test_no_two_purposes_or_keys_share_a_stream() -> None:
    made = {
        (seed, purpose, key): state(sequence(seed, purpose, *key))
        for seed in NUMBERS
        for purpose in Purpose
        for key in KEYS
    }
    older = {  # those of the splits, and what a generator without a purpose would draw
        (seed, key): state(np.random.SeedSequence([seed, *key]))
        for seed in NUMBERS
        for key in ((), *product((0, 1), range(10)))
    }
    assert len(set(made.values())) == len(made)
    assert not set(made.values()) & set(older.values())


def test_zeros_at_the_end_of_a_key_make_another_stream() -> None:
    """The pitfall: NumPy pads entropy with zeros, so that these two are one."""
    assert state(np.random.SeedSequence([7, 3])) == state(np.random.SeedSequence([7, 3, 0, 0]))
    assert seed_of(7, Purpose.TRIAL, 3) != seed_of(7, Purpose.TRIAL, 3, 0, 0)


def test_the_same_words_give_the_same_stream() -> None:
    first, second = (generator(7, Purpose.CUTS).random(3) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert seed_of(7, Purpose.TRIAL, 3) == 3770105153  # results of earlier studies stand on it


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        seed_of(-1, Purpose.TRIAL)


UNTAGGED = {
    # take a seed that was made for them alone
    "search/genetic.py", "search/quasi_random.py", "search/residual_mlp.py",
    # draw from a constant, or from what the user typed for this very purpose
    "search/champion/library/index.py", "search/champion/library/pool.py",
    "search/champion/onnx_file.py", "search/champion/compress/latency.py",
    "datasets/features/encoder.py",
    # the splits of earlier studies, and sounds: keys of their own
    "datasets/draw.py", "datasets/synthesis/compose.py", "datasets/seeds.py",
}  # fmt: skip


def test_no_other_file_makes_a_generator_without_a_purpose() -> None:
    found = set()
    for package in ("datasets", "lightning_models", "cluster", "search"):
        for path in (ROOT / package).rglob("*.py"):
            if "checkout" in path.relative_to(ROOT).parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and node.attr in {
                    "default_rng",
                    "SeedSequence",
                }:
                    found.add(path.relative_to(ROOT).as_posix())
    assert found - UNTAGGED <= set()
