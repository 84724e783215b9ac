"""Epistemic uncertainty for out-of-distribution detection: the disagreement of ensemble members.

`search.bundle.predictor` flags a track as out of distribution where the disagreement (or, of a
single network, the predictive entropy) exceeds a threshold that is fitted here.

Where tracks have several labels, each label is a decision of its own, present or absent, and both
measures are sums over all labels. A track without any label may well be in distribution: its
decisions are all certain. It is flagged where they are less certain than on nearly all tracks.

Source: the mutual information of Houlsby et al. 2011, "Bayesian Active Learning for Classification
and Preference Learning", arXiv:1112.5745, of ensembles as in Lakshminarayanan, Pritzel and Blundell
2017, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
arXiv:1612.01474.
"""

import math

import numpy as np

from chorale.search.statistics.arrays import Floats, Proba, decisions

IN_DISTRIBUTION_SHARE = 0.99
"""The quantile of in-distribution tracks that is the threshold: 1 % of them are flagged, too."""


def disagreement(proba: Proba, *, multi_label: bool = False) -> Floats:
    """Mutual information: the entropy of the members' mean minus their mean entropy, in nats.

    It is 0 where all members agree, and for a single member; at most the logarithm of the number
    of members, for each label where multi-label.

    Args:
        proba: (n_members, n_tracks, n_classes), from networks that were trained on the same
            tracks.
        multi_label: whether each label has a probability of its own; then the sum over labels.

    Returns:
        (n_tracks,).
    """
    if multi_label:
        return _summed(disagreement(decisions(proba.astype(np.float64))), proba.shape[2])
    entropy_of_mean = _entropy(proba.mean(axis=0, dtype=np.float64))
    mean_entropy = _entropy(proba.astype(np.float64)).mean(axis=0)
    return np.asarray(np.maximum(entropy_of_mean - mean_entropy, 0.0))


def predictive_entropy(proba: Proba, *, multi_label: bool = False) -> Floats:
    """The entropy of each row of `proba` (n_tracks, n_classes), in nats: (n_tracks,).

    Where `multi_label`, the sum of the entropies of the row's labels, each present or absent.

    Source: as a score for out-of-distribution detection, Hendrycks and Gimpel 2017, "A Baseline for
    Detecting Misclassified and Out-of-Distribution Examples", arXiv:1610.02136.
    """
    if multi_label:
        return _summed(_entropy(decisions(proba.astype(np.float64))), proba.shape[1])
    return _entropy(proba.astype(np.float64))


def ood_threshold_of_means(out_of_fold: Floats, by_network: Floats) -> float:
    """The out-of-distribution threshold for scores that are means over networks.

    A mean over networks varies less than the score of a single one: with a threshold from
    out-of-fold rows alone, 0.0 to 0.3 % of the tracks were flagged in simulations. So the
    out-of-fold threshold is rescaled by the means and standard deviations that both kinds of score
    have on test tracks; and it is not below the threshold of the test tracks' own means, of which
    there may be few. Then 0.2 to 1.3 % are flagged with 80 test tracks, 0.3 to 3 % with 20
    (`tests/benchmarks/bench_statistics.py`).

    Args:
        out_of_fold: (n_development,), each by the one network that did not train on the track.
        by_network: (n_networks, n_test).
    """
    means, std = by_network.mean(axis=0), float(by_network.std())
    ratio = float(means.std()) / std if std > 0 else 1.0
    rescaled = float(means.mean()) + ratio * (ood_threshold(out_of_fold) - float(by_network.mean()))
    return max(ood_threshold(means), rescaled)


def ood_threshold(values: Floats, share: float = IN_DISTRIBUTION_SHARE) -> float:
    """The out-of-distribution threshold: 1 % of in-distribution tracks exceed it.

    With fewer than 99 tracks it is the highest value.

    Args:
        values: (n_tracks,) scores of tracks that the network was not trained on, each computed as
            it is for a new track.
        share: of in-distribution tracks that do not exceed it.

    Source: the quantile of split conformal prediction, as in Laxhammar and Falkman 2010,
    "Conformal prediction for distribution-independent anomaly detection in streaming vessel data",
    doi:10.1145/1833280.1833281.
    """
    rank = min(len(values), math.ceil(share * (len(values) + 1)))
    return float(np.sort(values)[rank - 1])


def _summed(of_decisions: Floats, n_classes: int) -> Floats:
    """The sum over each track's labels: (n_tracks * n_classes,) -> (n_tracks,)."""
    return np.asarray(of_decisions.reshape(-1, n_classes).sum(axis=1))


def _entropy(proba: Proba) -> Floats:
    """Along the last axis. `scipy.special.entr` does the same, but takes 0.25 s to import."""
    return np.asarray(-(proba * np.log(np.where(proba > 0, proba, 1.0))).sum(axis=-1))
