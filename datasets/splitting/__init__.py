"""Group-disjoint train/test splits and cross-validation folds; class balancing."""
