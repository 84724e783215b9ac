"""Random seeds: independent random streams from one seed, keyed by purpose.

All code that draws from the seed of a sweep or of a training run derives its stream here, so that
the draws of two purposes are independent.

The exception is `datasets.splitting.group_split`, whose keys are older than this module: other keys
would draw another test set than earlier studies had. No stream here equals one of its streams, as
those have no spawn key.
"""

from enum import IntEnum, unique

import numpy as np


@unique
class Purpose(IntEnum):
    """What a stream is used for. The numbers are part of every result: add some, change none."""

    TRIAL = 1
    """training of a trial; its number"""
    FINALIST = 2
    """training of a finalist; its number, fold and seed"""
    STUDENT = 3
    """training of a compressed network on all rows; its number, fold and seed"""
    PROPOSAL = 4
    """a trial's configuration; its number and the parameter's name"""
    ARCHITECTURE = 5
    """the architecture for which a Gaussian process proposes a trial; key as PROPOSAL"""
    QUASI_RANDOM = 6
    """scrambling of the quasi-random points"""
    GRID = 7
    """order of a grid's points"""
    GENETIC = 8
    """random parameters of a genetic sampler"""
    BASELINES = 9
    """bootstrap samples and splits of the baselines"""
    CROSS_FIT = 10
    """group folds for the cross-fitting of ensembles"""
    GREEDY = 11
    """bags of groups of the greedy ensemble"""
    FUSION = 12
    """networks of the fusion ensemble; the network"""
    SUBSETS = 13
    """random subsets of members that measure the gain by averaging"""
    BOOTSTRAP = 14
    """bootstrap resamples of groups for a confidence interval"""
    SIGN_FLIPS = 15
    """sign flips of groups for a permutation test"""
    SEGMENTS = 16
    """groups whose segments are compared under several protocols"""
    WEIGHTS = 17
    """initial weights of a network"""
    ROW_ORDER = 18
    """order, crops and class balance of the rows; the epoch"""
    AUGMENTATION = 19
    """time stretching of crops; the epoch"""
    NOISE = 20
    """noise and filters applied to the audio"""
    EPOCH = 21
    """dropout, masks and mixup; the epoch"""
    SYNTHETIC = 22
    """synthetic rows of a table"""
    NORMALIZATION = 23
    """sample of tracks for the mean and standard deviation of large data"""
    SELECTION_BIAS = 24
    """bootstrap resamples of groups that estimate the selection bias"""
    SPEED_PROBE = 25
    """tracks on which the speed of architectures is measured"""
    JACKKNIFE = 26
    """blocks of groups of a jackknife"""
    DECISIONS = 27
    """groups on whose decisions a multi-label ensemble is fitted"""
    THRESHOLDS = 28
    """group folds of the thresholds of multi-label predictions"""
    POLYPHONY = 29
    """artists and clips of the polyphonic corpus; what is drawn, the artist, the clip's number"""
    TEST_SIZED_SETS = 30
    """sets of out-of-fold groups of the size of the test set"""
    VIEW = 31
    """perturbation of a recording; the view's number and the content"""
    VIEW_CHOICE = 32
    """which view of a training track is drawn; the epoch"""
    RECORDING = 33
    """noise and rooms of a recording condition; the track and the condition"""


def seed_sequence(seed: int, purpose: Purpose, *key: int) -> np.random.SeedSequence:
    """The seed sequence of `purpose`, one for each `key`.

    The purpose is in the spawn key: NumPy pads entropy with zeros, so that `(seed, n)` and
    `(seed, n, 0)` would be one stream.

    Source: O'Neill 2015, "Developing a seed_seq Alternative",
    https://www.pcg-random.org/posts/developing-a-seed_seq-alternative.html, as in NumPy's
    "Parallel random number generation", https://numpy.org/doc/stable/reference/random/parallel.html

    Raises:
        ValueError: a number is negative.
    """
    return np.random.SeedSequence(seed, spawn_key=(int(purpose), *key))


def random_generator(seed: int, purpose: Purpose, *key: int) -> np.random.Generator:
    """A NumPy generator seeded by `seed_sequence`."""
    return np.random.default_rng(seed_sequence(seed, purpose, *key))


def derive_seed(seed: int, purpose: Purpose, *key: int) -> int:
    """A 32-bit seed from `seed_sequence`, for torch, scikit-learn or a training run."""
    return int(seed_sequence(seed, purpose, *key).generate_state(1)[0])
