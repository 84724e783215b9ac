"""Submits, lists, follows and stops Ray jobs."""
