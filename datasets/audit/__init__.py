"""Data audit: corrupt, silent and duplicate tracks, and leakage between training and test."""
