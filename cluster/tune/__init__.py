"""Runs trials on a Ray cluster through Ray Tune."""
