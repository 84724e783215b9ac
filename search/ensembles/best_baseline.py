"""The best classical baseline alone: what a search has to beat to be worth its cost.

One of the ensembles that `search.evaluation.members` fits on out-of-fold rows; its members are
baselines only, and it is chosen for the headline where nothing that was trained is better.

Source: the selection by cross-validation of Stone 1974, as in `search.ensembles.best_single`.
"""

from chorale.search.combining.one_member import fit, predict

__all__ = ["fit", "predict"]
