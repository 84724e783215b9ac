"""Samplers for conditional search spaces, beyond Optuna's own."""
