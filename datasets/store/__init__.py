"""Feature cache: each track's features are computed once and memory-mapped for training."""
