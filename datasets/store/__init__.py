"""The feature cache: each track's features computed once, memory-mapped by all who train."""
