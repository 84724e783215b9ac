"""Proposal algorithms beyond Optuna's own."""
