"""The ensembles, one per file: `fit(predictions, labels, groups, seed) -> model` and `predict`."""
