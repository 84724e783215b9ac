"""The best classical baseline alone: what a search must beat to be worth its cost.

Its members are baselines only. It becomes the study's ensemble where no trained network, and no
combination of them, is better on held-out groups.

Source: selection by cross-validation, Stone 1974, as in `search.ensembles.best_single`.
"""

from chorale.search.combining.one_member import fit, fit_labels, predict

__all__ = ["fit", "fit_labels", "predict"]
