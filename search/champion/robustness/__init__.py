"""Robustness: a bundle's accuracy on test tracks as they arrive under other conditions."""
