"""Locks the test set away and cuts the other tracks into group-disjoint folds."""
