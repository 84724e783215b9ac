"""Runs trials on workers, here or on a Ray cluster. It knows no music and no Optuna."""
