"""The tracks of a sweep, audited, with features, locked test set and folds."""
