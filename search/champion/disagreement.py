"""How much the members of an ensemble disagree about a track: what tells that it is like no other.

Source: the mutual information of Houlsby et al. 2011, "Bayesian Active Learning for Classification
and Preference Learning", arXiv:1112.5745, of ensembles as in Lakshminarayanan, Pritzel and Blundell
2017, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
arXiv:1612.01474.
"""

import numpy as np
from numpy.typing import NDArray

from chorale.search.base import Floats, Proba

USUAL = 0.99
"""Of so large a share of development tracks nothing is said; the others are strange, too."""


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


def usual_entropy(out_of_fold: Proba) -> float:
    """What the entropy of hardly any development track exceeds.

    Args:
        out_of_fold: (n_tracks, n_classes), each row of a network that did not train on it.
    """
    return float(np.quantile(entropy(out_of_fold), USUAL, method="higher"))


def usual_limit(out_of_fold: Proba) -> float:
    """What hardly any development track exceeds.

    Args:
        out_of_fold: (n_members, n_tracks, n_classes), each row of a network that did not train on
            it.
    """
    found: NDArray[np.float64] = disagreement(out_of_fold)
    return float(np.quantile(found, USUAL, method="higher"))


def _entropy(proba: Floats) -> Floats:
    """Along the last axis; `scipy.special.entr` does it, whose import takes a quarter second."""
    return np.asarray(-(proba * np.log(np.where(proba > 0, proba, 1.0))).sum(axis=-1))
