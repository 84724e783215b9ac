"""Random streams: one for each purpose and key, all distinct."""

import ast
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from chorale.datasets.seeds import Purpose, derive_seed, random_generator, seed_sequence

ROOT = Path(__file__).parents[2]

NUMBERS = (0, 1, 2, 5)
KEYS = [key for length in range(4) for key in product(NUMBERS, repeat=length)]


def state(stream: np.random.SeedSequence) -> bytes:
    return stream.generate_state(4).tobytes()


def test_no_two_purposes_or_keys_share_a_stream() -> None:
    made = {
        (seed, purpose, key): state(seed_sequence(seed, purpose, *key))
        for seed in NUMBERS
        for purpose in Purpose
        for key in KEYS
    }
    older = {  # those of the splits, and those of a generator without a purpose
        (seed, key): state(np.random.SeedSequence([seed, *key]))
        for seed in NUMBERS
        for key in ((), *product((0, 1), range(10)))
    }
    assert len(set(made.values())) == len(made)
    assert not set(made.values()) & set(older.values())


def test_trailing_zeros_of_a_key_make_another_stream() -> None:
    """NumPy pads entropy with zeros, so that these two are one stream."""
    assert state(np.random.SeedSequence([7, 3])) == state(np.random.SeedSequence([7, 3, 0, 0]))
    assert derive_seed(7, Purpose.TRIAL, 3) != derive_seed(7, Purpose.TRIAL, 3, 0, 0)


def test_the_same_purpose_and_key_give_the_same_stream() -> None:
    first, second = (random_generator(7, Purpose.CROSS_FIT).random(3) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert derive_seed(7, Purpose.TRIAL, 3) == 3770105153  # results of earlier studies depend on it


def test_a_negative_seed_raises() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        derive_seed(-1, Purpose.TRIAL)


GENERATORS = ("default_rng", "SeedSequence")
UNTAGGED = {
    # get a seed that was derived for them alone
    "search/study/samplers/genetic.py", "search/study/samplers/quasi_random.py",
    "search/combining/fusion_net.py",
    # draw from a constant, or from a seed that the user gave for this purpose
    "search/champion/library/index.py", "search/champion/library/pool.py",
    "search/champion/export/onnx_file.py", "search/training/latency.py",
    "datasets/pretrained/track_frames.py", "datasets/pretrained/noise_run.py",
    # the splits of earlier studies, and synthesis: keys of their own
    "datasets/splitting/group_split.py", "datasets/synthesis/compose.py", "datasets/seeds.py",
}  # fmt: skip


def test_no_other_file_creates_a_generator_without_a_purpose() -> None:
    found = set()
    for package in ("datasets", "lightning_models", "cluster", "search"):
        for path in (ROOT / package).rglob("*.py"):
            if "checkout" in path.relative_to(ROOT).parts:
                continue
            text = path.read_text()
            if not any(name in text for name in GENERATORS):
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Attribute) and node.attr in GENERATORS:
                    found.add(path.relative_to(ROOT).as_posix())
    assert found - UNTAGGED <= set()
