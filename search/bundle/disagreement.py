"""How much the members of an ensemble disagree about a track: what tells that it is like no other.

Source: the mutual information of Houlsby et al. 2011, "Bayesian Active Learning for Classification
and Preference Learning", arXiv:1112.5745, of ensembles as in Lakshminarayanan, Pritzel and Blundell
2017, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
arXiv:1612.01474.
"""

import math

import numpy as np

from chorale.search.statistics.arrays import Floats, Proba

USUAL = 0.99
"""Of so large a share of tracks nothing is said; the others are strange, too."""


def disagreement(proba: Proba) -> Floats:
    """The entropy of the members' mean less the mean of their entropies, in nats.

    0 where all members say the same, and with a single member; at most the logarithm of their
    number.

    Args:
        proba: (n_members, n_tracks, n_classes), said by networks that were trained on the same
            tracks.

    Returns:
        (n_tracks,).
    """
    together = _entropy(proba.mean(axis=0, dtype=np.float64))
    alone = _entropy(proba.astype(np.float64)).mean(axis=0)
    return np.asarray(np.maximum(together - alone, 0.0))


def entropy(proba: Proba) -> Floats:
    """The entropy of each row of `proba` (n_tracks, n_classes), in nats: (n_tracks,).

    Source: as a sign of what is like nothing that was learnt, Hendrycks and Gimpel 2017, "A
    Baseline for Detecting Misclassified and Out-of-Distribution Examples", arXiv:1610.02136.
    """
    return _entropy(proba.astype(np.float64))


def usual_limit_of_means(out_of_fold: Floats, by_network: Floats) -> float:
    """What the mean over networks exceeds for about one of a hundred new tracks.

    Such means vary less than what one network says: by a limit from out-of-fold rows alone 0.0 to
    0.3 % were flagged in simulated worlds. So it is carried over to means, by the mean and the
    standard deviation that both have on test tracks; and it is not below the limit of these tracks'
    means, of which there may be few. Then 0.2 to 1.3 % are flagged with 80 test tracks, 0.3 to 3 %
    with 20 (`tests/benchmarks/bench_statistics.py`).

    Args:
        out_of_fold: (n_development,), each by the one network that did not train on the track.
        by_network: (n_networks, n_test).
    """
    means, spread = by_network.mean(axis=0), float(by_network.std())
    shrunk = float(means.std()) / spread if spread > 0 else 1.0
    carried = float(means.mean()) + shrunk * (usual_limit(out_of_fold) - float(by_network.mean()))
    return max(usual_limit(means), carried)


def usual_limit(values: Floats) -> float:
    """What a new track that is like the others exceeds in one of a hundred cases.

    Of fewer than 99 tracks it is the highest value.

    Args:
        values: (n_tracks,) of tracks that no network trained on, each as it is found of a new one.

    Source: the quantile of split conformal prediction, as in Laxhammar and Falkman 2010,
    "Conformal prediction for distribution-independent anomaly detection in streaming vessel data",
    doi:10.1145/1833280.1833281.
    """
    rank = min(len(values), math.ceil(USUAL * (len(values) + 1)))
    return float(np.sort(values)[rank - 1])


def _entropy(proba: Floats) -> Floats:
    """Along the last axis; `scipy.special.entr` does it, whose import takes a quarter second."""
    return np.asarray(-(proba * np.log(np.where(proba > 0, proba, 1.0))).sum(axis=-1))
