"""Comparison of finished studies on the test tracks that they have in common."""
