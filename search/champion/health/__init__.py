"""Watching a bundle in use: a ring of its answers, the accuracy expected of them, an alarm."""
