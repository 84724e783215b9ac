"""One file, one ensemble: `fit(proba, labels, groups, seed) -> weights` and `predict`."""
