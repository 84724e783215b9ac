"""Independent random streams from one seed: each is named by what it is for.

Every place that draws from the seed of a sweep or of a training run asks here, so that what is
drawn for one purpose says nothing of what is drawn for another.

The exception is `datasets.splitting.group_split`, whose keys are older than this module: other keys
would lock away another test set than earlier studies did. No stream here is one of its streams, as
theirs have no spawn key.
"""

from enum import IntEnum, unique

import numpy as np


@unique
class Purpose(IntEnum):
    """What a stream is for. The numbers are part of every result: add some, change none."""

    TRIAL = 1
    """training of a trial; its number"""
    FINALIST = 2
    """training of a finalist; its number, fold and seed"""
    STUDENT = 3
    """training of a compressed network on all rows; its number, fold and seed"""
    PROPOSAL = 4
    """a trial's configuration; its number and the parameter's name"""
    ARCHITECTURE = 5
    """the architecture that a Gaussian process is asked about; as PROPOSAL"""
    QUASI_RANDOM = 6
    """scrambling of the quasi-random points"""
    GRID = 7
    """order of a grid's points"""
    REST = 8
    """what a genetic sampler leaves to chance; as PROPOSAL"""
    BASELINES = 9
    """bootstrap samples and splits of the baselines"""
    CUTS = 10
    """cuts of the groups by which ensembles are cross-fitted"""
    GREEDY = 11
    """bags of groups of the greedy ensemble"""
    FUSION = 12
    """networks of the fusion ensemble; the network"""
    SUBSETS = 13
    """subsets of members by which averaging is measured"""
    BOOTSTRAP = 14
    """draws of groups for an interval"""
    SIGNS = 15
    """signs of groups for a test"""
    SEGMENTS = 16
    """groups whose segments are compared under several protocols"""
    WEIGHTS = 17
    """first weights of a network"""
    ORDER = 18
    """order, crops and balance of the rows; the epoch"""
    AUGMENTATION = 19
    """stretching of crops; the epoch"""
    NOISE = 20
    """noise and filters of the sound"""
    EPOCH = 21
    """dropout, masks and mixup; the epoch"""
    SYNTHETIC = 22
    """synthetic rows of a table"""
    SCALE = 23
    """tracks that the mean and deviation of large data are taken from"""
    CHOICE = 24
    """draws of groups that tell how lucky a choice was"""


def sequence(seed: int, purpose: Purpose, *key: int) -> np.random.SeedSequence:
    """The stream of `purpose`, one for each `key`.

    The purpose is a spawn key: in entropy itself NumPy pads with zeros, so that `(seed, n)` and
    `(seed, n, 0)` would be one stream.

    Source: O'Neill 2015, "Developing a seed_seq Alternative",
    https://www.pcg-random.org/posts/developing-a-seed_seq-alternative.html, as in NumPy's
    "Parallel random number generation", https://numpy.org/doc/stable/reference/random/parallel.html

    Raises:
        ValueError: a number is negative.
    """
    return np.random.SeedSequence(seed, spawn_key=(int(purpose), *key))


def generator(seed: int, purpose: Purpose, *key: int) -> np.random.Generator:
    """NumPy's generator of `sequence`."""
    return np.random.default_rng(sequence(seed, purpose, *key))


def seed_of(seed: int, purpose: Purpose, *key: int) -> int:
    """32 bits of `sequence`, for what takes a number: a training run, torch, scikit-learn."""
    return int(sequence(seed, purpose, *key).generate_state(1)[0])
