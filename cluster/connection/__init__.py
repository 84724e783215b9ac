"""Starts a private Ray or joins a running cluster, with its token."""
