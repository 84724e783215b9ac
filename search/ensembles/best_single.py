"""The best member alone: what every ensemble has to beat.

One of the ensembles that `search.evaluation.members` fits on out-of-fold rows.

Source: the selection by cross-validation of Stone 1974, "Cross-Validatory Choice and Assessment of
Statistical Predictions", doi:10.1111/j.2517-6161.1974.tb00994.x.
"""

from chorale.search.combining.one_member import fit, predict

__all__ = ["fit", "predict"]
